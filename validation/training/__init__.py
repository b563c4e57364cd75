"""The paper's regulariser (Section 3.4): landscapes of data as differentiable functions, and the penalties on them."""
