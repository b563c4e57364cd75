"""Appendix A: nonlinearities and batch norm."""
