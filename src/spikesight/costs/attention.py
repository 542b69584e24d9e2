"""Attention's energy beside that of softmax attention, as the papers compare them."""

from __future__ import annotations

from dataclasses import dataclass

from spikesight.costs.prices import (
    ACCUMULATE_PJ,
    MULTIPLY_ACCUMULATE_PJ,
    MULTIPLY_PJ,
)


@dataclass(frozen=True)
class AttentionEnergy:
    """The products of one attention layer, per sample (QSD-Transformer table 7).

    The table's formulas did not survive in the text that we have; these are a reconstruction from
    its rows (function, scale, softmax). Its linear projections are synapses of the energy report.

    Attributes:
        queries: Pixels N that attend.
        keys: Pixels that they attend to; as many as the queries in self-attention.
        channels: Channels C of all heads' queries, and of their keys.
        values: Channels C' of all heads' values.
        heads: Number of heads h.
        accumulates: Additions over all T x D steps: each spike of K and of Q adds C' / h integers.
    """

    queries: int
    keys: int
    channels: int
    values: int
    heads: int
    accumulates: float

    @property
    def picojoules(self) -> float:
        """Energy of the spike-driven products, E_AC T (R_Q + R_K) N C C' / h, R being mean counts.

        The factor of the product lies in thresholds and costs nothing.
        """
        return ACCUMULATE_PJ * self.accumulates

    @property
    def softmax_picojoules(self) -> float:
        """Energy of softmax attention of the same size: E_MAC N^2 (C + C'), scale, softmax."""
        pairs = self.queries * self.keys
        scores = self.heads * pairs
        products = MULTIPLY_ACCUMULATE_PJ * pairs * (self.channels + self.values)
        return products + MULTIPLY_PJ * scores + MULTIPLY_ACCUMULATE_PJ * 2 * scores
