"""Checks of corpora for shortcuts, leaks, imbalance and false records, and `hffkit audit`."""
