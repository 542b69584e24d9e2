"""Boxes around objects, with classes and scores."""
