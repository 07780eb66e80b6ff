"""Template tags of the training package."""
