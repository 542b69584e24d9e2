"""The folder of a run: what it holds, how it begins and goes on."""
