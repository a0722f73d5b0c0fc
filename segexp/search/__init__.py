"""Searching hyperparameters: spaces, samplers, and the studies that a run owns."""
