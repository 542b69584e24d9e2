"""What synapses read: the image, spikes, counts, means of them, or real values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikesight.checks.lattices import Lattice, distinct_values, mean_of, own_lattice
from spikesight.checks.recording import ITSELF, watched
from spikesight.checks.report import Answer, Verdict
from spikesight.synapses import RepConv

_OPERATIONS = frozenset(
    ["conv1d", "conv2d", "conv3d", "linear"]
    + [f"conv_transpose{dimensions}d" for dimensions in (1, 2, 3)]
)
_FEW_LEVELS = 16
_SAMPLE = 4096


@dataclass
class SynapseCall:
    """One use of a synapse.

    Attributes:
        module: Whose code it is.
        reads: What it reads, kept small: values alone.
        fingerprint: Of all that it reads.
        neurons_after: How many calls of neurons come later.
    """

    module: str
    reads: Tensor
    fingerprint: tuple[int, float, float]
    neurons_before: int
    neurons_after: int = 0


class SynapseCalls(TorchFunctionMode):
    """Notes every convolution and linear map, be it of a module or a function, until it ends.

    Args:
        module: What is going to be called.
        neurons: Names of its neurons.

    Attributes:
        calls: The synapses, in the order of execution.
    """

    def __init__(self, module: nn.Module, neurons: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self.calls: list[SynapseCall] = []
        self._makers: dict[tuple[int, float, float], str] = {}
        self._neurons = neurons or {}
        self._fired = 0
        self._stack: list[str] = []
        self._folding: set[str] = set()
        self._read_by_chain = False
        self._handles = []
        for name, part in watched(module):
            if isinstance(part, RepConv):
                self._folding.add(name)
            self._handles += [
                part.register_forward_pre_hook(partial(self._enter, name)),
                part.register_forward_hook(partial(self._leave, name)),
            ]

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()
        for call in self.calls:
            call.neurons_after = self._fired - call.neurons_before

    def maker(self, call: SynapseCall) -> str | None:
        """The module that gave what a synapse reads."""
        return self._makers.get(call.fingerprint)

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Lets a function do its work, and looks at what synapses read."""
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") in _OPERATIONS:
            reads = args[0] if args else kwargs.get("input")
            if isinstance(reads, Tensor) and reads.numel() and self._is_first_of_its_kernel():
                self._note(reads.detach())
        return function(*args, **kwargs)

    def _is_first_of_its_kernel(self) -> bool:
        """Whether it is no later map of a chain that folds into one kernel."""
        if self._folding.isdisjoint(self._stack):
            return True
        first, self._read_by_chain = not self._read_by_chain, True
        return first

    def _note(self, reads: Tensor) -> None:
        flat = reads.flatten()
        few = flat if flat.numel() <= 1 << 18 else flat[:: flat.numel() // (1 << 18)]
        module = self._stack[-1] if self._stack else ITSELF
        self.calls.append(SynapseCall(module, few.clone(), _fingerprint(reads), self._fired))

    def _enter(self, name: str, module: nn.Module, args: Any) -> None:
        self._stack.append(name)
        if name in self._folding:
            self._read_by_chain = False

    def _leave(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        while self._stack and self._stack.pop() != name:
            pass
        if name in self._neurons:
            self._fired += 1
        if isinstance(output, Tensor) and output.numel() and not output.is_complex():
            self._makers.setdefault(_fingerprint(output.detach()), name)


def reads_answers(
    synapses: SynapseCalls, neurons: Mapping[str, Lattice], image: list[Tensor]
) -> list[Answer]:
    """What synapses read that is neither spikes nor counts.

    Args:
        synapses: Of one call.
        neurons: The neurons of the module, which say what one spike is worth.
        image: The tensors of the call.
    """
    if not synapses.calls:
        return [Answer("reads", "clean", "", "there is no convolution and no linear map")]
    units = sorted({neuron.unit for neuron in neurons.values()})
    rows: dict[str, Answer] = {}
    counted = 0
    for index, call in enumerate(synapses.calls):
        if _is_counts(call.reads, units):
            counted += 1
            continue
        verdict: Verdict = "FINDING"
        if _is_image(call, image, is_first=index == 0):
            verdict, text = "note", "the first layer: reads the input, which is no fault"
        elif (mean := _as_mean(call.reads, units)) is not None:
            text = f"reads means of {mean[0]} values, in steps of {mean[1] / mean[0]:.4g}"
            if call.neurons_after == 0:
                verdict, text = "note", f"{text}: the readout, no fault"
            else:
                text += ", neither spikes nor counts; add up instead, its weights take the mean"
        else:
            text = _real_text(synapses, call)
        if call.module not in rows or verdict == "FINDING":
            rows[call.module] = Answer("reads", verdict, call.module, text)
    if not neurons and not counted:
        text = f"no synapse of {len(synapses.calls)} reads spikes: this is no spiking network"
        return [Answer("reads", "note", "", text)]
    text = f"{counted} of {len(synapses.calls)} calls of synapses read spikes or counts"
    bad = any(row.verdict == "FINDING" for row in rows.values())
    return [*rows.values(), Answer("reads", "note" if bad else "clean", "", text)]


def _is_counts(reads: Tensor, units: list[float]) -> bool:
    """Whether values are whole numbers of some neuron's unit; of any unit where there is none."""
    if any(mean_of(reads, unit) == 1 for unit in units):
        return True
    lattice = own_lattice(reads, 1 if units else _FEW_LEVELS)
    return lattice is not None


def _as_mean(reads: Tensor, units: list[float]) -> tuple[int, float] | None:
    """The least N of means of N spikes, and what one is worth; None of real values."""
    means = [(number, unit) for unit in units if (number := mean_of(reads, unit)) is not None]
    return min(means, default=None)


def _is_image(call: SynapseCall, image: list[Tensor], *, is_first: bool) -> bool:
    """Whether a synapse reads the input: the very values, or what comes before all neurons."""
    if is_first and call.neurons_before == 0:
        return True
    values = [tensor for tensor in image if not tensor.is_complex()]
    if call.reads.is_complex() or not values:
        return False
    few = call.reads[:: max(1, call.reads.numel() // _SAMPLE)].double()
    given = torch.cat([tensor.detach().flatten().double() for tensor in values])
    return bool(torch.isin(few, torch.cat([given, given.new_zeros(1)])).all())


def _real_text(synapses: SynapseCalls, call: SynapseCall) -> str:
    reads = call.reads.abs() if call.reads.is_complex() else call.reads.double()
    maker = synapses.maker(call)
    source = f" that {maker} gives" if maker is not None else ""
    distinct = distinct_values(call.reads)
    many = f"{len(distinct)} different ones" if distinct is not None else "thousands"
    return (
        f"reads real values{source}, {many} from {float(reads.min()):.3g} to "
        f"{float(reads.max()):.3g}; put a neuron between, or fold both maps into one kernel"
    )


def _fingerprint(tensor: Tensor) -> tuple[int, float, float]:
    """Tells tensors apart by size, least and largest value."""
    if tensor.is_complex():
        tensor = tensor.abs()
    return tensor.numel(), float(tensor.min()), float(tensor.max())
