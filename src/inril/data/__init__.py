"""Demonstrations: files, sources, and the training data made from them."""
