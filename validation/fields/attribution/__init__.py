"""What a unit of a layer owes to the pixels of an image: which unit, which images, and the gradients."""
