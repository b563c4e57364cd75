"""Which cells a tap reads on one axis: sliding, transposed, adaptive and resizing windows."""
