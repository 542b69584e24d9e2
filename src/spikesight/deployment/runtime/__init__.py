"""The integer network in PyTorch: as integers, and as binary spikes."""
