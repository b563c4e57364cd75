"""Section 3.2: feature relevance, Proposition 1 and its consequences."""
