"""Deployed networks: one integer network, its spikes, its file and its exports."""
