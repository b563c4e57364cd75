"""Input gradients of given networks: the regulariser's maps and penalties, empirical landscapes, the jackknife."""
