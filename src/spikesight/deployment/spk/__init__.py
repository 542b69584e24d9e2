"""The .spk file."""
