"""Compares the forms of a deployed network, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikesight.deployment.runtime import arithmetic
from spikesight.deployment.runtime.integers import Counts, IntegerExecutor
from spikesight.deployment.runtime.native import NativeRuntime
from spikesight.deployment.runtime.spikes import SpikeExecutor
from spikesight.errors import UserError
from spikesight.graph import Graph, integer_vocabulary as integer
from spikesight.passes.batches import require_samples
from spikesight.passes.verification import counts_of
from spikesight.reports.text_table import text_table

_TRAINING = "training"
_RUNTIMES = {"native": "libspk", "onnx": "onnxruntime", "openvino": "OpenVINO"}


@dataclass(frozen=True)
class LayerComparison:
    """How one neuron layer compares.

    Attributes:
        name: The neuron's path in the model.
        elements: Compared counts, T * B * C * H * W.
        firing_rate: Mean spike of the integer network, in [0, 1].
        mismatches: Differing counts for each form.
    """

    name: str
    elements: int
    firing_rate: float
    mismatches: dict[str, int]


@dataclass(frozen=True)
class Comparison:
    """What `Deployed.verify` found.

    Attributes:
        layers: One comparison per neuron, first to last.
        forms: What the integer network was compared with.
        logits: Differing integer logits for each form that has such logits.
        shipped: For each runtime the differing logits of the form that users run: the one without
            outputs for the counts, which the runtime may compute otherwise.
        shipped_as: What kind of form that is, for each runtime: "int8", "float32" and so on.
        compared_logits: Compared logits, of all samples.
        samples: Inputs compared.
        agreement: Share of inputs for which the floating-point network names the same class; None
            if it was not compared or there are several outputs.
    """

    layers: tuple[LayerComparison, ...]
    forms: tuple[str, ...]
    logits: dict[str, int]
    shipped: dict[str, int]
    shipped_as: dict[str, str]
    compared_logits: int
    samples: int
    agreement: float | None

    @property
    def mismatches(self) -> int:
        """Differing counts and logits over all forms that must be equal, and as they ship."""
        exact = [form for form in self.forms if form != _TRAINING]
        counts = sum(layer.mismatches[form] for layer in self.layers for form in exact)
        return counts + sum(self.logits.values()) + sum(self.shipped.values())

    @property
    def equal(self) -> bool:
        """Whether nothing differs in the forms that must be equal."""
        return self.mismatches == 0

    @property
    def silent(self) -> list[str]:
        """Neurons that never fired: about these the comparison proves nothing."""
        return [layer.name for layer in self.layers if layer.firing_rate == 0.0]

    @property
    def training_mismatch_rate(self) -> float | None:
        """Share of counts that differ from the floating-point network's; None if not compared."""
        if _TRAINING not in self.forms:
            return None
        differing = sum(layer.mismatches[_TRAINING] for layer in self.layers)
        return differing / sum(layer.elements for layer in self.layers)

    def table(self) -> str:
        """The comparison as text."""
        rows = [
            (
                layer.name,
                f"{layer.elements:,}",
                f"{layer.firing_rate:.4f}",
                *(_cell(layer, form) for form in self.forms),
            )
            for layer in self.layers
        ]
        compared = f"{self.compared_logits:,}"
        for name, differing in (("logits", self.logits), ("logits as shipped", self.shipped)):
            if differing:
                cells = (f"{differing[form]:,}" if form in differing else "" for form in self.forms)
                rows.append((name, compared, "", *cells))
        header = ("neuron", "elements", "firing rate", *(f"!= {form}" for form in self.forms))
        exact = [form for form in self.forms if form != _TRAINING]
        lines = [text_table(header, rows)]
        if exact:
            lines.append(
                f"integer == {' == '.join(exact)}: {self.mismatches} mismatches in counts and "
                f"logits of {self.samples} inputs"
            )
        lines += [f"{_RUNTIMES[form]} ships as {kind}" for form, kind in self.shipped_as.items()]
        if self.training_mismatch_rate is not None:
            line = f"floating-point network: {100 * self.training_mismatch_rate:.2f} % of counts "
            line += "differ"
            if self.agreement is not None:
                line += f", top-1 agrees on {100 * self.agreement:.2f} %"
            lines.append(line)
        if self.silent:
            lines.append(f"{len(self.silent)} of {len(self.layers)} neurons silent")
        return "\n".join(lines)


def _cell(layer: LayerComparison, form: str) -> str:
    count = layer.mismatches[form]
    return f"{100 * count / layer.elements:.2f} %" if form == _TRAINING else f"{count:,}"


def compare(
    graph: integer.Graph,
    training: Graph | None,
    executor: IntegerExecutor,
    x: Tensor,
    forms: Sequence[str],
) -> Comparison:
    """Runs the integer network and other forms of it and counts what differs.

    Args:
        graph: The network.
        training: The folded floating-point network, for "training".
        executor: Runs the network.
        x: Normalised images [B, C, H, W] or frames [B, T, C, H, W].
        forms: Any of "spikes", "native", "onnx", "openvino" and "training".

    Returns:
        The differences.

    Raises:
        UserError: If a form is unknown or not at hand, or the batch is empty.
    """
    require_samples(x)
    runs: dict[str, Callable[[], _Run]] = {
        "spikes": lambda: _run_spikes(graph, executor, x),
        "native": lambda: _run_native(graph, x),
        "onnx": lambda: _run_onnx(graph, x),
        "openvino": lambda: _run_openvino(graph, x),
        _TRAINING: lambda: _run_training(training, x),
    }
    unknown = [form for form in forms if form not in runs]
    if unknown:
        raise UserError(f"cannot verify against {unknown[0]!r}; pass any of {', '.join(runs)}")
    counts, logits = executor.observe(x)
    mismatches: dict[str, dict[str, int]] = {name: {} for name in counts}
    differing_logits: dict[str, int] = {}
    shipped: dict[str, int] = {}
    shipped_as: dict[str, str] = {}
    agreement: float | None = None
    for form in forms:
        other = runs[form]()
        for name, own in counts.items():
            mismatches[name][form] = int((own != other.counts[name].to(own)).sum())
        if other.shipped is not None:
            shipped_as[form], shipped_logits = other.shipped
            shipped[form] = int((logits != shipped_logits).sum())
        if form == _TRAINING and len(graph.outputs) > 1:
            agreement = None
        elif form == _TRAINING:
            agreement = float((logits.argmax(1) == other.logits.argmax(1)).double().mean())
        else:
            differing_logits[form] = int((logits != other.logits).sum())
    layers = tuple(
        LayerComparison(
            name=node.name,
            elements=counts[node.name].numel(),
            firing_rate=float(counts[node.name].double().mean()) / node.levels,
            mismatches=mismatches[node.name],
        )
        for node in graph.neurons
    )
    return Comparison(
        layers=layers,
        forms=tuple(forms),
        logits=differing_logits,
        shipped=shipped,
        shipped_as=shipped_as,
        compared_logits=logits.numel(),
        samples=len(logits),
        agreement=agreement,
    )


@dataclass(frozen=True)
class _Run:
    """What a form computes.

    Attributes:
        counts: Of every neuron.
        logits: Its logits.
        shipped: Of a runtime, the kind of form that users run, and its logits.
    """

    counts: Counts
    logits: Tensor
    shipped: tuple[str, Tensor] | None = None


def _run_spikes(graph: integer.Graph, executor: IntegerExecutor, x: Tensor) -> _Run:
    parts: dict[str, list[Tensor]] = {}

    def record(node: integer.Neuron, _: int, spikes: list[Tensor]) -> None:
        binary = all(bool(((s == 0) | (s == 1)).all()) for s in spikes)
        assert binary, f"{node.name} is not binary"
        parts.setdefault(node.name, []).append(arithmetic.total(spikes).cpu())

    logits = arithmetic.joined(SpikeExecutor(graph, executor.device).run(x, record)).cpu()
    return _Run({name: torch.cat(steps) for name, steps in parts.items()}, logits)


def _run_native(graph: integer.Graph, x: Tensor) -> _Run:
    runtime = NativeRuntime(graph, prove=False)
    # What shows counts is what ships.
    counts, logits = runtime.observe(x)
    return _Run(counts, logits, (runtime.form, logits))


def _run_onnx(graph: integer.Graph, x: Tensor) -> _Run:
    from spikesight.deployment.export.onnx import OnnxRuntime, to_onnx

    size = (x.shape[-2], x.shape[-1])
    runtime = OnnxRuntime(to_onnx(graph, size, frames=x.ndim == 5))
    shipped = runtime(x)
    observing = OnnxRuntime(to_onnx(graph, size, observe=True, frames=x.ndim == 5))
    return _Run(*observing.observe(x), (runtime.form, shipped))


def _run_openvino(graph: integer.Graph, x: Tensor) -> _Run:
    from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino
    from spikesight.deployment.export.openvino_runtime import FLOAT32

    size = (x.shape[-2], x.shape[-1])
    runtime = OpenVinoRuntime(to_openvino(graph, size, frames=x.ndim == 5))
    shipped = runtime(x)
    fast = runtime.form != FLOAT32
    observed = to_openvino(graph, size, observe=True, frames=x.ndim == 5, fast=fast)
    return _Run(*OpenVinoRuntime(observed).observe(x), (runtime.form, shipped))


def _run_training(training: Graph | None, x: Tensor) -> _Run:
    if training is None:
        raise UserError(
            "a network read from a file does not hold the floating-point network it was made "
            'from; deploy the model again to verify against "training"'
        )
    return _Run(*counts_of(training, x.cpu().double()))
