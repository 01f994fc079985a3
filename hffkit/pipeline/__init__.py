"""Recipes of steps: read, planned, run, and put together to a table; calls workflows only."""
