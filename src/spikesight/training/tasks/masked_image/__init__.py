"""Guessing hidden patches: pre-training without labels."""
