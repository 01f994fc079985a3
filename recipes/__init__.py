"""Recipes as files: how networks are trained."""
