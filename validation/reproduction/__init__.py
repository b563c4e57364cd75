"""The paper's Tables 1 to 4 and Figures 1 to 5, each by one call: recipes, sweep, tables beside the printed numbers."""
