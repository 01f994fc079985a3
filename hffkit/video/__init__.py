"""Frames out of videos, and videos written."""
