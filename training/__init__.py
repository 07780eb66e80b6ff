"""Turns a frozen dataset into a registered model: base models, jobs, evaluations and model versions."""
