"""Neurons, forward and backward, against the floor of copying their tensors.

    python benchmarks/neurons.py
    python benchmarks/neurons.py --threads 1 --dtype float32 --elements 65536 --json
    python benchmarks/neurons.py --compiled         also the compiled form, which warms up a minute

The floor is 2.5 copies: forward reads the current and writes spikes (1 copy), backward reads a
gradient and the current and writes a gradient (1.5). Copies into new memory, as every operator
must. Forms alternate in one process and medians are compared, so only the ratios mean anything on
a shared machine; with one thread the clock is the processor time, which neighbours disturb least.

spikesight           as the library chooses (use_kernels "auto"): native kernels, where built
spikesight blocked   by PyTorch's operators, in blocks that stay in the cache ("eager")
authors' style       what authors_style.py writes, with a result for every operation
relu                 torch.relu through autograd: what an operator of PyTorch pays over the floor
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import torch
from torch import Tensor

from authors_style import AuthorsNeuron
from spikesight.native.library import form
from spikesight.neurons import create_neuron, use_kernels
from spikesight.processor import processor_name
from spikesight.timing import time_rounds

CASES = {"i_lif T=1 D=4": ("i_lif", 1), "ni_lif T=1 D=4": ("ni_lif", 1), "lif T=4": ("lif", 4)}
# Small tensors are timed in batches of calls, well above the clock's resolution.
_ELEMENTS_OF_A_TURN = 1 << 21


def training_step(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> None:
    """A forward and a backward pass."""
    x.grad = None
    torch.autograd.backward(function(x), grad)


def variants(
    name: str, steps: int, x: Tensor, grad: Tensor, modes: dict[str, Any]
) -> dict[str, Callable[[], None]]:
    """The forms of a neuron by name, each a forward and backward pass."""
    neuron = create_neuron(name, steps=steps)
    authors = AuthorsNeuron(neuron)

    def run(mode: Any) -> Callable[[], None]:
        def step() -> None:
            with use_kernels(mode):
                training_step(neuron, x, grad)

        return step

    return {
        **{label: run(mode) for label, mode in modes.items()},
        "authors' style": lambda: training_step(authors, x, grad),
        "relu": lambda: training_step(torch.relu, x, grad),
    }


def measure(
    name: str, steps: int, elements: int, dtype: torch.dtype, options: argparse.Namespace
) -> dict[str, float]:
    """Times over the floor, by form."""
    generator = torch.Generator().manual_seed(0)
    shape = (steps * 16, elements // (steps * 16))
    x = (torch.randn(shape, generator=generator) * 2).to(dtype).requires_grad_()
    grad = torch.randn(shape, generator=generator).to(dtype)
    half = torch.empty_like(grad.view(-1)[: elements // 2])

    def floor() -> None:
        grad.clone()
        grad.clone()
        half.copy_(grad.view(-1)[: elements // 2])

    modes = {"spikesight": "auto", "spikesight blocked": "eager"}
    if options.compiled:
        modes["spikesight compiled"] = "compiled"
    functions = {"floor": floor, **variants(name, steps, x, grad, modes)}
    calls = max(1, _ELEMENTS_OF_A_TURN // elements)
    turns = {label: _repeat(function, calls) for label, function in functions.items()}
    for turn in turns.values():
        turn()
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times = time_rounds(turns, options.rounds, clock)
    medians = {label: statistics.median(values) for label, values in times.items()}
    return {label: median / medians["floor"] for label, median in medians.items()}


def _repeat(function: Callable[[], None], calls: int) -> Callable[[], None]:
    def turn() -> None:
        for _ in range(calls):
            function()

    return turn


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument(
        "--elements",
        type=int,
        nargs="+",
        default=[1 << 23, 1 << 16],
        help="currents per call, T included",
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compiled", action="store_true", help="the compiled form as well")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args(arguments)
    about = {
        "processor": processor_name(),
        "torch": torch.__version__,
        "date": str(date.today()),
        "neurons": form(),
        "rounds": options.rounds,
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for dtype in options.dtype:
            for elements in options.elements:
                for case, (name, steps) in CASES.items():
                    ratios = measure(name, steps, elements, getattr(torch, dtype), options)
                    rows.append(
                        {
                            "case": case,
                            "threads": threads,
                            "dtype": dtype,
                            "elements": elements,
                            "ratios": ratios,
                        }
                    )
                    listed = "  ".join(
                        f"{label} {ratio:.2f}"
                        for label, ratio in ratios.items()
                        if label != "floor"
                    )
                    print(
                        f"{case:15} {elements:>8} {threads} thread(s) {dtype:9} x floor: {listed}",
                        flush=True,
                    )
    if options.json:
        print(json.dumps({**about, "rows": rows}))


if __name__ == "__main__":
    main()
