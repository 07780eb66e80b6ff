"""The worked example: six people, a team, a dataset, a model trained on this machine, and work waiting for everyone."""
