"""Measures which share of the product of counts an attention neuron should be given at the start.

The product q (k^T v) of counts grows with the cube of the gain of the normalisations and of the
counts' unit, and the neuron behind it should see a current of that gain. What is left is a share,
gain^3 unit^3 / (standard deviation of the product), which a model takes as a constant: the 1/32
(`COUNTS_SHARE` in spikesight/models/neuron_choice.py) that the nano models ask for. It is measured
here on handwritten digits in fresh models with batch statistics, over levels (of I-LIF, whose unit
is 1) and seeds; the table says how often the neuron fires with the share that the library takes.

    python benchmarks/attention_scale.py [--size 32] [--seeds 3]
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikesight as ss
from spikesight.attention import AttentionProduct
from spikesight.data.photos.digits import read_digits
from spikesight.models.neuron_choice import COUNTS_SHARE
from spikesight.neurons.recording import NeuronRecorder, firing_rate

MODELS = ("metaspikformer_nano", "metaspikformer_tiny", "spikformer_nano", "spikformer_tiny")


def digits(size: int) -> Tensor:
    """64 digits [64, 1, size, size], normalised."""
    images = read_digits().images[:64].float()
    resized = F.interpolate(images, (size, size), mode="bilinear")
    return (resized - resized.mean()) / resized.std()


@torch.no_grad()
def measure(name: str, levels: int, x: Tensor) -> tuple[list[float], list[float]]:
    """The share that each product asks for, and how often the neurons behind them fire."""
    model: Any = ss.create_model(name, in_channels=1, levels=levels, neuron="i_lif")
    gain = model.sizes.norm_gain
    products: list[float] = []
    rates: list[float] = []

    def note_product(product: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(product, AttentionProduct)
        products.append(float((output / product.scale).std()))

    for module in model.modules():
        if isinstance(module, AttentionProduct):
            module.register_forward_hook(note_product)

    def note_neuron(place: str, neuron: Any, output: Tensor) -> None:
        if place.endswith("attention_neuron"):
            rates.append(float(firing_rate(neuron, output)))

    with NeuronRecorder(model, note_neuron):
        model.train()(x)
    return [gain**3 / product for product in products if product], rates


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=32, help="side of the digits in pixels")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    x = digits(options.size)
    print(f"share taken: {COUNTS_SHARE}")
    print(f"{'model':22} levels  share asked for (median, range)   firing rate with the one taken")
    for name in MODELS:
        for levels in (2, 4, 8):
            shares: list[float] = []
            rates: list[float] = []
            for seed in range(options.seeds):
                torch.manual_seed(seed)
                measured = measure(name, levels, x)
                shares += measured[0]
                rates += measured[1]
            print(
                f"{name:22} {levels:6}  {statistics.median(shares):.4f} "
                f"({min(shares):.4f} to {max(shares):.4f})        {statistics.mean(rates):.3f}"
            )


if __name__ == "__main__":
    main()
