"""What is measured on one network: ablation, robustness, location sensitivity, consistency under shifts."""
