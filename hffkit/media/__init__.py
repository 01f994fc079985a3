"""Decode and encode images, and read and write videos: the only codecs."""
