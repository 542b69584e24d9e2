"""What it takes to deploy a network, write it, read it back and verify it on one photo.

    python benchmarks/deploying.py
    python benchmarks/deploying.py --models metaspikformer_15m --rounds 5

The networks are those of benchmarks/deploy.py. Seconds of processor time, of all threads together,
and on the clock; each the least of the rounds, as other programs on the machine only add to them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import spikesight as ss
from deploy import REP_CONV, Networks
from spikesight.processor import processor_name
from spikesight.reports.text_table import text_table

MODELS = ["metaspikformer_15m", "metaspikformer_55m"]
STEPS = ["deploy", "save", "load", "run", "verify"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rep-conv", choices=list(REP_CONV), default="spike_driven")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{options.size} px, RepConv {options.rep_conv}, {options.threads} threads of "
        f"{processor_name()}, least of {options.rounds} rounds"
    )
    rows = [row for name in options.models for row in _rows(name, options)]
    print(text_table(("network", "step", "CPU s", "clock s"), rows))


def _rows(name: str, options: argparse.Namespace) -> list[tuple[str, ...]]:
    """One row per step, in the order in which a user takes them."""
    model = Networks(argparse.Namespace(**vars(options), model=name, batch=1)).spiking()
    side = options.size
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    net = ss.deploy(model, x)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.spk"
        net.save(path)
        steps: dict[str, Callable[[], object]] = {
            "deploy": lambda: ss.deploy(model, x),
            "save": lambda: net.save(path),
            "load": lambda: ss.Deployed.load(path),
            "run": lambda: net(x),
            "verify": lambda: net.verify(x),
        }
        rows = []
        for step in options.steps:
            seconds = [_timed(steps[step]) for _ in range(options.rounds)]
            least = (min(each) for each in zip(*seconds, strict=True))
            rows.append((name, step, *(f"{value:.2f}" for value in least)))
    return rows


def _timed(take: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds and seconds on the clock."""
    before = time.process_time(), time.perf_counter()
    take()
    return time.process_time() - before[0], time.perf_counter() - before[1]


if __name__ == "__main__":
    main()
