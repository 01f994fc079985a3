"""Weights of other programs: of Caffe, Keras and PyTorch, as state dicts of our networks."""
