"""Training: recipes, solvers, feeding and the training step."""
