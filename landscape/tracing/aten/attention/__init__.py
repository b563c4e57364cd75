"""Attention as it is written: products of matrices and a softmax, read as one op."""
