"""Commands about runs: training, the tables and figures of run folders, and their evaluation."""
