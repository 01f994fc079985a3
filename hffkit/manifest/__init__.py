"""Samples, classes, splits, pairs and failures of corpora; no pixels."""
