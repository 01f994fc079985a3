"""Recipes of steps: read, plan and run them, and compute their tables."""
