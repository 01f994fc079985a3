"""Run folders: weights, and all that must be known to use and to repeat them."""
