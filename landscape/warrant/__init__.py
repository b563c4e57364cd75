"""How far a prediction can be trusted: the guarantee with its reasons, and bounds on its errors."""
