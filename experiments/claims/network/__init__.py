"""Sections 1 and 3.1: what the architecture decides, routes and path counts."""
