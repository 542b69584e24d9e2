"""Whole networks: counts against binary spikes against the ANN twin, side by side in one run.

    python benchmarks/networks.py --model metaspikformer_nano --size 28 --batch 16

Variants alternate round by round; medians; ratios are what counts, times depend on the machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikesight as ss
from spikesight.timing import time_alternating


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="metaspikformer_nano")
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    torch.manual_seed(0)
    x = torch.rand(options.batch, 3, options.size, options.size)
    counts = ss.create_model(options.model, num_classes=10, neuron="i_lif", levels=4)
    binary = ss.create_model(options.model, num_classes=10, neuron="lif", steps=4)
    twin = ss.create_model(options.model, num_classes=10, neuron="relu")
    simulation = ss.unroll(ss.trace(counts.eval()))

    milliseconds = time_alternating(
        {
            "ann_forward": _forward(twin, x),
            "counts_forward": _forward(counts, x),
            "binary_lif_t4_forward": _forward(binary, x),
            "spike_simulation_forward": lambda: simulation(x),
            "ann_training_step": _training_step(twin, x),
            "counts_training_step": _training_step(counts, x),
            "binary_lif_t4_training_step": _training_step(binary, x),
        },
        options.rounds,
    )
    print(f"{options.model}, {options.batch} x {options.size} px, {options.threads} threads")
    for name, value in milliseconds.items():
        base = "ann_training_step" if name.endswith("step") else "ann_forward"
        print(f"{name:<30} {value:9.1f} ms  {value / milliseconds[base]:6.2f} x the ANN twin")
    if options.json:
        print(json.dumps(milliseconds))


def _forward(model: nn.Module, x: Tensor) -> Callable[[], object]:
    def run() -> Tensor:
        model.eval()
        with torch.inference_mode():
            logits: Tensor = model(x)
        return logits

    return run


def _training_step(model: nn.Module, x: Tensor) -> Callable[[], object]:
    labels = torch.arange(len(x)) % 10

    def run() -> None:
        model.train()
        F.cross_entropy(model(x), labels).backward()
        model.zero_grad()

    return run


if __name__ == "__main__":
    main()
