"""Run folders: weights with the record of how they were made, and scores of samples."""
