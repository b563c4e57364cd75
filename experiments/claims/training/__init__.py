"""Sections 3.3 and 4: the regulariser, the paper's tables, a laptop's runs."""
