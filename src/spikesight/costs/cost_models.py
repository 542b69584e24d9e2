"""Cost models: what the work of a layer takes in picojoules, each after its source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from spikesight.costs.forms import Activity, Amount, Form
from spikesight.costs.prices import (
    ACCUMULATE_PJ,
    INTEGER_ADD_PJ,
    MULTIPLY_ACCUMULATE_PJ,
)
from spikesight.costs.work import Work
from spikesight.errors import UserError

_ACCUMULATOR_BITS = 32


@dataclass(frozen=True)
class Cost:
    """Energy of a layer in picojoules per sample, by what it goes into; numbers or tensors [N].

    Attributes:
        compute: Additions, multiplications, comparisons.
        weights: Fetching weights, or the operand that stands still in a product.
        activations: Reading and writing what layers say to each other.
        membranes: Reading and writing membranes, partial sums and shortcuts.
        addressing: Finding the places that a spike or value belongs to.
        routing: Sending messages over a network on the chip.
    """

    compute: Amount = 0.0
    weights: Amount = 0.0
    activations: Amount = 0.0
    membranes: Amount = 0.0
    addressing: Amount = 0.0
    routing: Amount = 0.0

    @property
    def total(self) -> Amount:
        """The sum of all kinds."""
        return sum((getattr(self, kind) for kind in COST_KINDS), 0.0)

    def __add__(self, other: Cost) -> Cost:
        return Cost(**{kind: getattr(self, kind) + getattr(other, kind) for kind in COST_KINDS})

    def mean(self) -> Cost:
        """The mean over samples, as numbers."""
        kinds = {kind: torch.as_tensor(getattr(self, kind)) for kind in COST_KINDS}
        return Cost(**{kind: float(value.double().mean()) for kind, value in kinds.items()})


COST_KINDS = tuple(field.name for field in fields(Cost))


@dataclass(frozen=True)
class CostModel(ABC):
    """Prices of one hardware, and the formula that applies them.

    Attributes:
        key: Name in options and files.
        title: What tables call it.
        source: Where prices and formula come from, and which of them are second-hand or ours.
        process: Process node.
        counts_memory: Whether data movement is priced.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    process: ClassVar[str]
    counts_memory: ClassVar[bool]

    @abstractmethod
    def cost(self, work: Work, form: Form) -> Cost | None:
        """What a layer costs in a form, per sample.

        Args:
            work: What it does.
            form: How it is computed.

        Returns:
            The cost; None where the source has no price for the form.
        """


@dataclass(frozen=True)
class PaperConvention(CostModel):
    """Additions by spikes and multiplications in 32-bit floating point; all else is free.

    QSD-Transformer eqs. 28-30, Spike2Former eqs. 11-13: E = 4.6 pJ MACs of real values + 0.9 pJ
    additions by spikes, both as counted at the outputs that are reached.

    Attributes:
        add: One addition.
        multiply_add: One multiply-accumulate.
    """

    key = "paper"
    title = "the papers' convention"
    source = "prices of Horowitz, ISSCC 2014, 32-bit floating point; formula of the SNN papers"
    process = "45 nm"
    counts_memory = False

    add: float = ACCUMULATE_PJ
    multiply_add: float = MULTIPLY_ACCUMULATE_PJ

    def cost(self, work: Work, form: Form) -> Cost | None:
        """See `CostModel`; counts, dense integers and low-bit ANNs have no price here."""
        if form.key not in ("spikes", "fp32"):
            return None
        activity = form.activity(work)
        price = self.add if activity.event_driven else self.multiply_add
        return Cost(compute=price * activity.operations)


@dataclass(frozen=True)
class IntegerArithmetic(CostModel):
    """Integer operations by their bits; memory is free.

    A product of a bits by w bits costs `multiply` a w, an addition `add` per bit, of accumulators
    of 32 bits. Horowitz has 0.2 pJ for 8 x 8 and 3.1 for 32 x 32, which a w / 64 gives within 4 %,
    and 0.03 and 0.1 pJ for additions of 8 and 32 bits. Fewer bits are extrapolated by us.

    Attributes:
        add: An addition, comparison or subtraction per bit.
        multiply: A multiplication per bit of the one times bit of the other.
        float_multiply_add: One multiply-accumulate in floating point.
    """

    key = "integer"
    title = "integer arithmetic"
    source = "Horowitz, ISSCC 2014; below 8 bits scaled by us"
    process = "45 nm"
    counts_memory = False

    add: float = INTEGER_ADD_PJ / 32
    multiply: float = 0.2 / 64
    float_multiply_add: float = MULTIPLY_ACCUMULATE_PJ

    def cost(self, work: Work, form: Form) -> Cost | None:
        """See `CostModel`."""
        activity, add = form.activity(work), self.add * _ACCUMULATOR_BITS
        price = self.float_multiply_add
        if not form.floating:
            price = add + self.multiply * product_bits(work, form)
        return Cost(price * activity.operations + add * elementwise_operations(work, form))


def product_bits(work: Work, form: Form) -> int:
    """Bits of the one factor times bits of the other, of each operation; 0 of an addition."""
    if form.skips == "spikes" and work.levels:
        return 0
    return form.bits(work) * form.stationary_bits(work)


def elementwise_operations(work: Work, form: Form) -> Amount:
    """Additions, comparisons and subtractions of neurons, shortcuts and sums, per sample.

    A neuron compares with each of its D thresholds; binary spikes subtract what each takes. Over
    time it adds its current to a membrane, which may forget. An ANN's activation is as many
    comparisons as its levels need, by bisection: its bits.
    """
    passes = form.passes(work)
    if work.kind == "neuron":
        if form.one_pass:
            return work.outputs * (1 if form.floating else form.bits(work))
        over_time = work.outputs * passes * (1 + work.leaks) if passes > 1 else 0.0
        compared = work.levels if form.skips == "spikes" else form.bits(work)
        subtracted: Amount = work.spikes if form.skips == "spikes" or passes > 1 else 0.0
        return work.outputs * passes * compared + over_time + subtracted
    if work.kind in ("shortcut", "sum"):
        activity = form.activity(work)
        if activity.event_driven:  # by a sum of spikes alone
            return activity.operations
        return max(work.inputs, work.outputs) * passes
    return 0.0


@dataclass(frozen=True)
class MemoryHierarchy(CostModel):
    """Additions, multiplications, addresses, and every access to memory by that memory's size.

    Lemaire et al. (arXiv 2210.13107): a spike is read from a queue, asks for the weights of all
    outputs that it reaches, and reads and writes their membranes; a dense layer reads an input and
    a weight for each multiplication, keeps its sum in a register and writes each output once
    (eqs. 3-15). Nothing is reused. A spike's addresses take one addition per output and in a
    convolution 2 multiply-accumulates more (16.2, 16.3, 17.2), those of a dense layer one addition
    per input and output and per place of its kernels. A leak multiplies.

    An access moves 4 bytes; of values of fewer bits it moves as many as fit (ours).

    Attributes:
        add: One addition of 32 bits.
        multiply: One multiplication of 32 by 32 bits; of fewer, as the product of the bits (ours).
        float_multiply_add: One multiply-accumulate in floating point.
        sizes: Bytes of memories whose access is known; between them lies a line.
        accesses: What 4 bytes cost there.
        queue: Bytes of the queue of a layer's spikes, which the paper leaves open.
    """

    key = "memory"
    title = "memory by size, no reuse"
    source = "Lemaire et al., arXiv 2210.13107, and the authors' code; low bits by us"
    process = "45 nm"
    counts_memory = True

    add: float = INTEGER_ADD_PJ
    multiply: float = 3.1
    float_multiply_add: float = MULTIPLY_ACCUMULATE_PJ
    sizes: tuple[float, ...] = (8192.0, 32768.0, 1048576.0)
    accesses: tuple[float, ...] = (10.0, 20.0, 100.0)
    queue: float = 8192.0

    def __post_init__(self) -> None:
        ascending = list(self.sizes) == sorted(set(self.sizes))
        if len(self.sizes) < 2 or len(self.accesses) != len(self.sizes) or not ascending:
            raise UserError(
                f"memory has sizes {self.sizes} and accesses {self.accesses}; pass two or more "
                "sizes, ascending, and as many accesses"
            )

    def access(self, size: float) -> float:
        """Reading or writing 4 bytes of a memory of so many bytes.

        Below the smallest size it is the first price, above the largest the last line goes on.
        """
        if size <= self.sizes[0]:
            return self.accesses[0]
        last = min(bisect_left(self.sizes, size), len(self.sizes) - 1)
        low, high = self.sizes[last - 1], self.sizes[last]
        first, second = self.accesses[last - 1], self.accesses[last]
        return first + (second - first) * (size - low) / (high - low)

    def value(self, number: float, bits: int) -> float:
        """Reading or writing one of so many values of so many bits."""
        return self.access(number * bits / 8) * bits / 32

    def cost(self, work: Work, form: Form) -> Cost | None:
        """See `CostModel`."""
        activity = form.activity(work)
        if work.kind == "neuron":
            return self._neuron(work, form, activity)
        if work.kind in ("shortcut", "sum"):
            passes = form.passes(work)
            held = self.value(work.outputs, _ACCUMULATOR_BITS)
            moved = (work.inputs + work.outputs) * passes * held
            return Cost(self.add * elementwise_operations(work, form), membranes=moved)
        bits, own = form.bits(work), form.stationary_bits(work)
        weights = activity.operations * self.value(work.weights, own)
        if activity.event_driven:
            return self._events(work, form, activity, weights)
        price = self.float_multiply_add if form.floating else self._operation(work, form)
        passes = form.passes(work)
        read = work.inputs * passes if work.is_matrix else activity.operations
        places = work.inputs + work.outputs + (not work.is_matrix) * work.weights / work.channels
        return Cost(
            price * activity.operations,
            weights,
            activations=read * self.value(work.inputs, bits),
            addressing=self.add * places * passes,
        )

    def _events(self, work: Work, form: Form, activity: Activity, weights: Amount) -> Cost:
        found = self.add * activity.operations
        if work.is_synapse and not work.is_matrix:
            found = found + 2 * (self.multiply + self.add) * activity.messages
        return Cost(
            self._operation(work, form) * activity.operations,
            weights,
            activations=activity.messages * self.access(self.queue),
            membranes=activity.operations * self._membrane(work),
            addressing=found,
        )

    def _operation(self, work: Work, form: Form) -> float:
        """An addition, with the product that it adds if there is one."""
        return self.add + self.multiply * product_bits(work, form) / 1024

    def _membrane(self, work: Work) -> float:
        """Reading and writing a membrane or partial sum of the layer."""
        return 2 * self.value(work.outputs, _ACCUMULATOR_BITS)

    def _neuron(self, work: Work, form: Form, activity: Activity) -> Cost:
        passes = form.passes(work)
        computed = self.add * elementwise_operations(work, form)
        if work.leaks and not form.one_pass:
            computed = computed + (self.multiply + self.add) * work.outputs * passes
        sent = activity.messages * self.access(self.queue)
        if not activity.event_driven:
            sent = self.value(work.outputs, form.bits(work)) * work.outputs * passes
        # A dense sum waits in a register; what outlives a time step is held like any membrane.
        holds = activity.event_driven or passes > 1
        held = work.outputs * passes * self._membrane(work) if holds else 0.0
        return Cost(computed, activations=sent, membranes=held)


@dataclass(frozen=True)
class DataMovement(CostModel):
    """Messages over a network on the chip, and each weight fetched once per pass that needs it.

    Yan, Bai and Wong (arXiv 2409.08290): sums stay where they are computed, each unique weight is
    fetched once by a dense layer, and again at every time step by spikes that need it; a spike is a
    message of one bit over a network for sparse events, a dense value of some bits over one for
    streams. Here a channel's weights are asked for by each sub-step in which the channel spikes
    anywhere, as counted; a layer sends its spikes as a dense bitmap where that is cheaper.

    Of the paper's prices we have read: 0.05448 pJ for an addition, comparison or subtraction,
    0.25 pJ per bit and hop of streams, 3.0 of events (Loihi's), all through notes and code of
    others. What a multiplication and a fetched weight take there we have not: a multiplication is
    scaled from Horowitz (0.2 pJ for 8 x 8 beside 0.03 for an addition of 8 bits), a weight's bit
    costs what a streamed bit does.

    Attributes:
        operation: An addition, comparison or subtraction.
        multiply: A multiplication per bit of the one times bit of the other.
        float_multiply_add: One multiply-accumulate in floating point: Horowitz' ratio of 4.6 pJ to
            an addition of 0.03.
        stream: A bit of a dense value, per hop.
        event: A bit of an event, per hop.
        weight: A bit of a weight.
        state: A bit of a membrane or shortcut, read or written.
        hops: Hops of a message.
    """

    key = "movement"
    title = "data movement, weights reused"
    source = "Yan et al., arXiv 2409.08290, second-hand; multiplications and weights by us"
    process = "22 nm"
    counts_memory = True

    operation: float = 0.05448
    multiply: float = 0.05448 * 0.2 / 0.03 / 64
    float_multiply_add: float = 0.05448 * MULTIPLY_ACCUMULATE_PJ / 0.03
    stream: float = 0.25
    event: float = 3.0
    weight: float = 0.25
    state: float = 0.25
    hops: float = 1.0

    def cost(self, work: Work, form: Form) -> Cost | None:
        """See `CostModel`."""
        activity = form.activity(work)
        own = form.stationary_bits(work)
        moved = 2 * self.state * _STATE_BITS * form.passes(work) * work.outputs
        if work.kind == "neuron":
            held = moved if form.passes(work) > 1 else 0.0
            computed = self.operation * elementwise_operations(work, form)
            return Cost(computed, membranes=held)
        if work.kind in ("shortcut", "sum"):
            return Cost(self.operation * elementwise_operations(work, form), membranes=moved)
        price = self.float_multiply_add
        if not form.floating:
            price = self.operation + self.multiply * product_bits(work, form)
        per_channel = work.weights / work.channels * own
        return Cost(
            price * activity.operations,
            self.weight * per_channel * activity.channel_fetches,
            routing=self.hops * self._messages(work, form, activity),
        )

    def _messages(self, work: Work, form: Form, activity: Activity) -> Amount:
        bits = 1 if form.skips == "spikes" and work.levels else form.bits(work)
        if not activity.event_driven:
            return self.stream * bits * activity.messages
        sub_steps = work.levels if form.skips == "spikes" else 1
        streamed = self.stream * bits * work.inputs * work.steps * sub_steps
        return torch.clamp(torch.as_tensor(self.event * bits * activity.messages), max=streamed)


_STATE_BITS = 16

COST_MODELS: dict[str, CostModel] = {
    model.key: model
    for model in (PaperConvention(), IntegerArithmetic(), MemoryHierarchy(), DataMovement())
}
"""The cost models by name."""
FOR_EVERY_FORM = ("integer", "memory", "movement")
"""Those that have a price for every form."""


def as_samples(amount: Amount, samples: int) -> Tensor:
    """An amount as one value per sample [N]."""
    return torch.as_tensor(amount, dtype=torch.float64).expand(samples)
