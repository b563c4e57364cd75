"""Maps as numbers, findings and plots."""
