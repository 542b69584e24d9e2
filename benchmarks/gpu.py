"""What a CUDA device shows, in five minutes: exactness, neurons, training steps.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --json              one JSON object on the last line
    python benchmarks/gpu.py --rehearse          the script itself, small and on the CPU: no figures

Exactness: spikes of neurons equal the CPU's bit for bit and their gradients to 1e-12 in float64;
every count, spike sum and logit of deployed networks equals the CPU's. A difference ends the run
with exit code 1. Neurons: forward and backward against 2.5 copies of their tensors, as in
neurons.py. Training: a step of the same Spikformer with the same weights, ours and SpikingJelly's,
whose neurons are told to be its Triton kernels; the CPU compares both in float64 first. Forms
alternate round by round; medians. Without a CUDA device the exit code is 2.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

# Read when SpikingJelly is imported.
os.environ.setdefault("SJ_LIF_CUDA_IMPLEMENTATION", "triton")

import jelly
import spikesight as ss
from neurons import CASES
from spikesight.deployment.runtime.arithmetic import joined
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.deployment.runtime.spikes import SpikeExecutor
from spikesight.neurons import LIF, Neuron, create_neuron
from spikesight.timing import time_rounds
from spikesight.training import Card
from train import Models, forms_of
from training_rows import ROWS

WEIGHTS = Path(__file__).parents[1] / "weights"
CALLS = 10
"""Calls between two looks at the clock, which waits for the device."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is computed.

    Attributes:
        elements: Currents of a neuron.
        images: Of a training batch, by row.
        rounds: Rounds of everything that is timed.
        precisions: Of training.
        deployed: Rows whose model is deployed, beside the trained ones of weights/.
        seen: Images that a deployed network sees.
    """

    elements: tuple[int, ...]
    images: dict[str, int]
    rounds: int
    precisions: tuple[str, ...]
    deployed: tuple[str, ...]
    seen: int


FULL = Sizes(
    elements=(1 << 16, 1 << 22, 1 << 26),
    images={"spikformer_4_256": 32, "spikformer_4_384_cifar": 64},
    rounds=15,
    precisions=("fp32", "bf16"),
    deployed=("spikformer_4_384_cifar",),
    seen=8,
)
SMALL = Sizes((1 << 12,), {"digits_events_nano": 2}, 1, ("fp32",), (), 1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--rehearse", action="store_true", help="small and on the CPU")
    options = parser.parse_args(arguments)
    if not (options.rehearse or torch.cuda.is_available()):
        print("no CUDA device here: nothing was run", file=sys.stderr)
        sys.exit(2)
    device = torch.device("cpu" if options.rehearse else "cuda")
    sizes = SMALL if options.rehearse else FULL
    name = "rehearsal on the CPU" if options.rehearse else torch.cuda.get_device_name()
    print(f"{name}, torch {torch.__version__}, medians of {sizes.rounds} alternating rounds")
    results: dict[str, Any] = {"device": name, "torch": torch.__version__}
    for what, part in PARTS.items():
        began = time.perf_counter()
        results[what] = part(device, sizes)
        print(f"{what}: {time.perf_counter() - began:.0f} s", flush=True)
    if options.json:
        print(json.dumps(results))


def exact_neurons(device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """Compares neurons on the device with those on the CPU."""
    cases: dict[str, Neuron] = {
        case: create_neuron(name, steps=steps) for case, (name, steps) in CASES.items()
    }
    cases["lif T=4 tau=3, soft reset, threshold 0.7"] = LIF(
        4, tau=3.0, threshold=0.7, reset="soft", surrogate="arctan", detach_reset=False
    )
    cases["lif T=4 learned tau"] = LIF(4, tau=1.7, learnable_tau=True)
    generator = torch.Generator().manual_seed(0)
    for case, neuron in cases.items():
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            x = 2 * torch.randn(4, 1001, 17, generator=generator)
            cotangent = torch.randn(x.shape, generator=generator, dtype=torch.float64)
            spikes, gradients = {}, {}
            for place in ("cpu", device.type):
                current = x.to(place, dtype, copy=True).requires_grad_()
                fired = neuron.to(place)(current)
                fired.backward(cotangent.to(fired))
                assert current.grad is not None
                spikes[place], gradients[place] = fired.detach().cpu(), current.grad.cpu()
            _expect(torch.equal(spikes["cpu"], spikes[device.type]), f"{case} {dtype}: spikes")
            difference = (gradients["cpu"] - gradients[device.type]).abs().max().item()
            bound = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 0.1)
            _expect(difference <= bound, f"{case} {dtype}: gradients differ by {difference}")
    print(f"  {len(cases)} neurons in 3 precisions: the CPU's spikes and gradients")
    return {"neurons": list(cases)}


def exact_networks(device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """Compares deployed networks on the device with those on the CPU."""
    models: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        folder.name: (ss.load(folder), Card.read(folder).preprocessing.input_shape[:-2])
        for folder in sorted(WEIGHTS.iterdir())
    }
    models |= {row: (Models(ROWS[row]()).ours, (3,)) for row in sizes.deployed}
    elements: dict[str, int] = {}
    for name, (model, seen) in models.items():
        x = torch.randn(sizes.seen, *seen, 32, 32, generator=torch.Generator().manual_seed(0))
        graph = ss.deploy(model, x).graph
        counts, logits = IntegerExecutor(graph, "cpu").observe(x)
        found, found_logits = IntegerExecutor(graph, device).observe(x)
        wrong = sum(int((counts[node] != found[node]).sum()) for node in counts)
        wrong += int((logits != found_logits).sum())
        wrong += int((logits != joined(SpikeExecutor(graph, device).run(x)).cpu()).sum())
        elements[name] = sum(count.numel() for count in counts.values())
        firing = sum(bool(count.any()) for count in counts.values())
        print(
            f"  {name}: {wrong} differences in {elements[name]:,} counts, logits and the logits "
            f"of spikes; {firing} of {len(counts)} neurons fire"
        )
        _expect(wrong == 0, f"{name} is not exact on the device")
    return elements


def bandwidth(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """Times neurons against copies."""
    rows = []
    for elements in sizes.elements:
        for dtype in (torch.float32, torch.bfloat16):
            for case, (name, steps) in CASES.items():
                forms = _neuron_forms(create_neuron(name, steps=steps), elements, dtype, device)
                medians = _medians(forms, sizes.rounds, device)
                bytes_moved = 5 * elements * dtype.itemsize
                row = {
                    "case": case,
                    "elements": elements,
                    "dtype": str(dtype).removeprefix("torch."),
                    "copies_gb_per_s": bytes_moved / medians["copies"] / 1e6,
                    **{f"{form}_over_copies": t / medians["copies"] for form, t in medians.items()},
                }
                rows.append(row)
                ratios = "  ".join(
                    f"{form} {row[f'{form}_over_copies']:.2f}"
                    for form in medians
                    if form != "copies"
                )
                print(
                    f"  {case:15} {elements:>10,} {row['dtype']:8} "
                    f"copies {row['copies_gb_per_s']:6.0f} GB/s  x copies: {ratios}"
                )
    return rows


def _neuron_forms(
    neuron: Neuron, elements: int, dtype: torch.dtype, device: torch.device
) -> dict[str, Callable[[], object]]:
    neuron.to(device)
    shape = (neuron.steps, elements // neuron.steps)
    x = (torch.randn(shape, device=device) * 2).to(dtype).requires_grad_()
    grad = torch.randn(shape, device=device).to(dtype)
    half = torch.empty_like(grad.view(-1)[: elements // 2])

    def copies() -> None:
        grad.clone()
        grad.clone()
        half.copy_(grad.view(-1)[: elements // 2])

    def step(function: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def run() -> None:
            x.grad = None
            torch.autograd.backward(function(x), grad)

        return run

    forms: dict[str, Callable[[], object]] = {"copies": copies, "spikesight": step(neuron)}
    if isinstance(neuron, LIF) and jelly.is_installed():
        forms["spikingjelly"] = step(jelly.lif(neuron.steps).to(device))
    return forms


def training(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """Times training steps."""
    rows = []
    for name, images in sizes.images.items():
        row = dataclasses.replace(ROWS[name](), batch=images)
        models = Models(row)
        names = [
            form
            for form in forms_of(row, argparse.Namespace(compiled=False))
            if form in ("ours", "spikingjelly_eager", "authors_style")
        ]
        models.check(names)
        for precision in sizes.precisions:
            forms = {form: TrainingStep(models, form, precision, device).step for form in names}
            medians = _medians(forms, sizes.rounds, device, calls=1)
            for form, milliseconds in medians.items():
                ratio = medians["ours"] / milliseconds
                rows.append(
                    {"row": name, "images": images, "precision": precision, "form": form}
                    | {"milliseconds": milliseconds, "ours_over_this": ratio}
                )
                print(
                    f"  {name} batch {images} {precision} {form:20} {milliseconds:8.2f} ms, "
                    f"ours {ratio:.2f} x"
                )
    return rows


class TrainingStep:
    """A training step with what it needs; arguments as its fields are called."""

    def __init__(self, models: Models, form: str, precision: str, device: torch.device) -> None:
        model = models.plain(form).to(device).train()
        self.logits = models.logits_of(form, model)
        self.lower = precision == "bf16"
        x, classes = models.row.batch_of(models.row.batch)
        if form == "ours" and models.row.channels_last:
            model.to(memory_format=torch.channels_last)
            if x.ndim == 4:
                x = x.contiguous(memory_format=torch.channels_last)
        self.x, self.classes = x.to(device), classes.to(device)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step(self) -> None:
        self.optimizer.zero_grad()
        with torch.autocast(self.x.device.type, torch.bfloat16, enabled=self.lower):
            loss = nn.functional.cross_entropy(self.logits(self.x), self.classes)
        loss.backward()
        self.optimizer.step()


def _medians(
    forms: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, calls: int = CALLS
) -> dict[str, float]:
    """Milliseconds of a call of each form, the device's work done."""

    def finished(call: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(calls):
                call()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return run

    waiting = {name: finished(call) for name, call in forms.items()}
    for call in waiting.values():
        call()
    times = time_rounds(waiting, rounds)
    return {name: statistics.median(values) / calls for name, values in times.items()}


def _expect(holds: bool, what: str) -> None:
    if not holds:
        print(f"WRONG: {what}", file=sys.stderr)
        sys.exit(1)


PARTS: dict[str, Callable[[torch.device, Sizes], Any]] = {
    "exact neurons": exact_neurons,
    "exact networks": exact_networks,
    "neurons": bandwidth,
    "training": training,
}

if __name__ == "__main__":
    main()
