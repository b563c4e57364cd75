"""The general law, of moments at pairs of positions: the sweep, and what each op passes."""
