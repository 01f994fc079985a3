"""Face corpora, post-processing operations and forensic networks for the study of fake faces."""
