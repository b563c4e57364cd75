"""Counts without a sweep: Pascal's triangle and its kin, padded strips, limits, polynomials."""
