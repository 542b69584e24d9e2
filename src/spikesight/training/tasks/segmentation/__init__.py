"""Segments: a class for every pixel, or objects told apart."""
