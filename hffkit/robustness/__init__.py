"""Robustness of detectors under suites of operations, and `hffkit robustness`."""
