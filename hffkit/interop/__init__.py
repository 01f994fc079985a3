"""Weights of other programs: Caffe's caffemodel and Keras's HDF5, as state dicts."""
