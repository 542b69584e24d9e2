"""The command line's view of the demo: call; it prints itself."""

from __future__ import annotations

from pathlib import Path


def demo_command(output: Path = Path("spikesight-demo"), epochs: int = 12, seed: int = 0) -> None:
    """Trains a spiking transformer on handwriting, proves that it is spikes, shows what it costs.

    Works offline on scikit-learn's 1,797 digits, on the CPU, in about three minutes.

    Args:
        output: Folder for the trained models and report.html; that of an earlier demo is replaced.
        epochs: Passes over the training digits. 1 tries the installation in seconds.
        seed: Seed of the first weights, the order of the digits and their shifts.
    """
    from spikesight.demo.job import demo

    demo(output, epochs, seed)
