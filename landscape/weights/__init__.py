"""The law of the weights: initialisations, and the tests that tell fresh weights from fixed ones."""
