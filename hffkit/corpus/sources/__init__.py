"""One reader for each dataset: what is there, which class and split and group it has."""
