"""Makers of what several test files need: trees, corpora, runs, and programs that die."""
