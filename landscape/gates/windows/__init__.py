"""The largest of the cells of a window: which one wins, how often it is open, what comes out."""
