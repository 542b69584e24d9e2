"""Measures peak memory and time of a training step in each of the forms of `low_memory`.

Every form has a process of its own. "RAM" is the most that the process held during the steps after
the first one, "of it steps" what of that it does not hold between two steps, where model and
optimiser remain. Time is that of one thread's processor, the median of the steps.

With --huge-pages the C library gives blocks of a megabyte and more back to the system as soon as
they are free, and the system gives them in pages of 2 MB, without which that would take long.

    python benchmarks/memory.py [--cases spikformer cifar meta] [--steps 5] [--huge-pages]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
import torch.nn.functional as F

import spikesight as ss
from spikesight.memory import Memory, PeakMemory

CASES = {
    "spikformer": "Spikformer 4-256, 128 px, T = 4, batch 4",
    "cifar": "Spikformer 4-384, 32 px, T = 4, batch 32",
    "meta": "Meta-SpikeFormer 15M, 224 px, D = 4, batch 4",
}
SPIKFORMER: dict[str, Any] = {"width": 256, "depth": 4, "heads": 16}
HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1", "MALLOC_MMAP_THRESHOLD_": "1000000"}
FORMS: tuple[Memory, ...] = ("normal", "low", "lowest")


def build(case: str) -> tuple[ss.SpikingModel, torch.Tensor]:
    """A model and images for it."""
    torch.manual_seed(0)
    if case == "spikformer":
        model = ss.create_model("spikformer", num_classes=100, steps=4, neuron="lif", **SPIKFORMER)
        return model, _images(4, 128)
    if case == "cifar":
        model = ss.create_model("spikformer_4_384", num_classes=10, steps=4, neuron="lif")
        return model, _images(32, 32)
    return ss.create_model("metaspikformer_15m", num_classes=1000, levels=4), _images(4, 224)


def _images(batch: int, side: int) -> torch.Tensor:
    return torch.rand(batch, 3, side, side)


def measure(case: str, form: Memory, steps: int) -> dict[str, float]:
    """Seconds of a step and bytes."""
    model, images = build(case)
    labels = torch.arange(len(images)) % 10
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    memory, seconds = ss.low_memory(model, form), []
    for step in range(steps + 1):
        began = time.process_time()
        with memory:
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step == 0:
            ctypes.CDLL(None).malloc_trim(0)
            peak = PeakMemory(torch.device("cpu"))
            between = peak.bytes()
        else:
            seconds.append(time.process_time() - began)
    after = peak.bytes()
    return {"seconds": statistics.median(seconds), "bytes": after, "steps": after - between}


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--huge-pages", action="store_true", help=" ".join(HUGE_PAGES))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.one:
        print(json.dumps(measure(given.one[0], given.one[1], given.steps)))
        return
    figures = {}
    environment = os.environ | (HUGE_PAGES if given.huge_pages else {})
    for case in given.cases:
        print(CASES[case])
        print(f"{'':8}{'RAM, MB':>10}{'of it steps':>13}{'ratio':>7}{'step, ms':>10}{'ratio':>7}")
        for form in FORMS:
            command = (sys.executable, __file__, "--steps", str(given.steps), "--one", case, form)
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            )
            row = figures[f"{case} {form}"] = json.loads(done.stdout)
            first = figures[f"{case} normal"]
            print(
                f"{form:8}{row['bytes'] / 1e6:10.0f}{row['steps'] / 1e6:13.0f}"
                f"{row['steps'] / first['steps']:7.2f}{row['seconds'] * 1e3:10.0f}"
                f"{row['seconds'] / first['seconds']:7.2f}",
                flush=True,
            )
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)


if __name__ == "__main__":
    main()
