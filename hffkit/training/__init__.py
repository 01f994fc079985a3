"""Training: recipes, datasets, losses, optimizers and the training loop."""
