"""The ways in which one network can be computed, between which energy is compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from spikesight.costs.work import Work

Amount = float | Tensor


@dataclass(frozen=True)
class Form:
    """How a network is computed.

    Attributes:
        key: Its name in files and options.
        title: What tables call it.
        skips: What silence saves it: "spikes" sends every spike of T x D as a message of its own,
            "counts" one message per count that is not zero, None sends everything.
        one_pass: Whether one pass stands for all time steps, as in an ANN.
        activation_bits: Bits of a value between layers; None: as many as the counts need.
        weight_bits: Bits of a weight; None: those of the network.
        floating: Whether it computes in floating point.
    """

    key: str
    title: str
    skips: Literal["spikes", "counts"] | None = None
    one_pass: bool = False
    activation_bits: int | None = None
    weight_bits: int | None = None
    floating: bool = False

    def passes(self, work: Work) -> int:
        """How often a layer is passed."""
        return 1 if self.one_pass else work.steps

    def bits(self, work: Work) -> int:
        """Bits of a value that a layer reads or a neuron gives: 8 of an image.

        A pass of D levels needs ceil(log2(D + 1)); one that stands for T steps
        ceil(log2(T D + 1)), the equal information of arXiv 2409.08290, theorem 1.
        """
        if self.activation_bits is not None:
            return self.activation_bits
        if not work.levels:
            return _REAL_BITS
        most = work.levels * (work.steps if self.one_pass else 1)
        return max(1, math.ceil(math.log2(most + 1)))

    def stationary_bits(self, work: Work) -> int:
        """Bits of a weight, or of the operand that stands still in a product."""
        if self.weight_bits is not None:
            return self.weight_bits
        if work.is_synapse:
            return work.weight_bits or _FLOAT_BITS
        return self.bits(work)

    def activity(self, work: Work) -> Activity:
        """What a layer receives and does over all passes."""
        if self.skips is None or not work.levels:
            passes = self.passes(work)
            sets = work.channels * passes
            return Activity(work.inputs * passes, work.macs * passes, sets, event_driven=False)
        if self.skips == "spikes":
            seen = (work.spikes, work.spike_additions, work.spike_fetches)
        else:
            seen = (work.events, work.event_additions, work.event_fetches)
        return Activity(*seen, event_driven=True)


_REAL_BITS = 8
_FLOAT_BITS = 32


@dataclass(frozen=True)
class Activity:
    """What a layer receives and does, per sample, as numbers or tensors [N].

    Attributes:
        messages: Values or spikes received; of a neuron, sent.
        operations: Additions or multiply-accumulates.
        channel_fetches: How often the weights of a channel are asked for.
        event_driven: Whether only what fires was counted.
    """

    messages: Amount
    operations: Amount
    channel_fetches: Amount
    event_driven: bool


SPIKES = Form("spikes", "binary spikes", skips="spikes")
COUNTS = Form("counts", "counts, zeros skipped", skips="counts")
DENSE = Form("dense", "counts, dense")
EQUAL_BITS = Form("equal_bits", "ANN of equal bits", one_pass=True)
INT8 = Form("int8", "ANN, int8", one_pass=True, activation_bits=8, weight_bits=8)
FP32 = Form("fp32", "ANN, fp32", one_pass=True, activation_bits=32, weight_bits=32, floating=True)

FORMS = (SPIKES, COUNTS, DENSE, EQUAL_BITS, INT8, FP32)
"""The network's own forms, then its rivals."""
