"""Readers of datasets: they list files with class, split and group, and decode nothing."""
