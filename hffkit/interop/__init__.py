"""Weights of Caffe, Keras and PyTorch, converted to state dicts of our networks."""
