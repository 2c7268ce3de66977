"""Decides whether a PyTorch checkpoint is good enough to merge."""

__version__ = "0.1.0"
