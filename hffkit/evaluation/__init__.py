"""Metrics of scores, with confidence intervals, tables and report pages."""
