"""Detectors, loaded from run folders and applied to samples and files."""
