"""What results have in common: plain values, tables, files without code."""
