"""Measures neurons, forward and backward, against the floor of copying their tensors.

The floor is 2.5 copies: forward reads the current and writes spikes (1 copy), backward reads a
gradient and the current and writes a gradient (1.5). Copies into new memory, as every operator
must. All variants run interleaved in one process
and the medians are compared, so only the ratios mean anything on a shared machine. "eager"
variants are the usual implementations in PyTorch, written here for comparison.

    python benchmarks/neurons.py [--threads 1] [--dtype float32] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spikesight.neurons import Neuron, create_neuron, use_kernels

CASES = {"i_lif T=1 D=4": ("i_lif", 1), "ni_lif T=1 D=4": ("ni_lif", 1), "lif T=4": ("lif", 4)}


class _RoundClip(torch.autograd.Function):
    """An integer neuron as it is commonly written: the gradient is masked in place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.levels = levels
        return x.clamp(0, levels).round()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        grad = grad.clone()
        grad[x < 0] = 0
        grad[x > ctx.levels] = 0
        return grad, None


class _Heaviside(torch.autograd.Function):
    """A binary spike with the sigmoid surrogate, one time step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(4 * x)
        return grad * 4 * s * (1 - s)


def eager_integer(x: Tensor, neuron: Neuron) -> Tensor:
    counts: Tensor = _RoundClip.apply(x, neuron.levels)
    return counts if neuron.unit == 1.0 else counts * neuron.unit


def eager_lif(x: Tensor, neuron: Neuron) -> Tensor:
    current = x.view(neuron.steps, -1)
    membrane = torch.zeros_like(current[0])
    spikes = []
    for current_t in current:
        membrane = membrane + (current_t - membrane) / 2
        spike = _Heaviside.apply(membrane - neuron.threshold)
        membrane = membrane * (1 - spike.detach())
        spikes.append(spike)
    return torch.stack(spikes).view_as(x)


def training_step(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> None:
    x.grad = None
    torch.autograd.backward(function(x), grad)


def variants(name: str, steps: int, x: Tensor, grad: Tensor) -> dict[str, Callable[[], None]]:
    neuron = create_neuron(name, steps=steps)
    naive = eager_lif if name == "lif" else eager_integer

    def run(mode: Any) -> Callable[[], None]:
        def step() -> None:
            with use_kernels(mode):
                training_step(neuron, x, grad)

        return step

    return {
        "spikesight": run("auto"),
        "spikesight blocked": run("eager"),
        "spikesight compiled": run("compiled"),
        "eager (naive)": lambda: training_step(lambda x: naive(x, neuron), x, grad),
    }


def measure(
    name: str, steps: int, elements: int, dtype: torch.dtype, rounds: int
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    shape = (steps * 16, elements // (steps * 16))
    x = (torch.randn(shape, generator=generator) * 2).to(dtype).requires_grad_()
    grad = torch.randn(shape, generator=generator).to(dtype)
    half = torch.empty_like(grad.view(-1)[: elements // 2])

    def floor() -> None:
        grad.clone()
        grad.clone()
        half.copy_(grad.view(-1)[: elements // 2])

    functions = {"floor": floor, **variants(name, steps, x, grad)}
    times: dict[str, list[float]] = {label: [] for label in functions}
    for label in functions:
        functions[label]()
    # One thread is timed by its own processor time, which neighbours disturb least.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for _ in range(rounds):
        for label, function in functions.items():
            start = clock()
            function()
            times[label].append(clock() - start)
    medians = {label: statistics.median(values) for label, values in times.items()}
    return {label: median / medians["floor"] for label, median in medians.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument(
        "--elements", type=int, default=3 << 21, help="currents per call, T included"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", help="write the ratios to this file")
    arguments = parser.parse_args()
    rows = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for dtype in arguments.dtype:
            for case, (name, steps) in CASES.items():
                ratios = measure(
                    name, steps, arguments.elements, getattr(torch, dtype), arguments.rounds
                )
                rows.append({"case": case, "threads": threads, "dtype": dtype, "ratios": ratios})
                listed = "  ".join(
                    f"{label} {ratio:.2f}" for label, ratio in ratios.items() if label != "floor"
                )
                print(f"{case:15} {threads} thread(s) {dtype:9} x floor: {listed}", flush=True)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
