"""Durall et al.'s simple features: azimuthally averaged power spectra, and shallow classifiers."""
