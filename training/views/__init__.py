"""The pages of the training package, one module per noun."""
