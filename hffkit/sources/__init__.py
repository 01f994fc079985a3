"""Readers of datasets: which files there are, with class, split and group."""
