"""Forensic networks, each with its input and capabilities in one table."""
