"""Forensic networks: AMTENnet, its variants and the baselines of its paper."""
