"""The energy report of a network, layer by layer: figures, tables and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spikesight.costs.attention import AttentionEnergy
from spikesight.costs.prices import (
    ACCUMULATE_PJ,
    LOW_BIT_NOTE,
    MULTIPLY_ACCUMULATE_PJ,
    low_bit_share,
)
from spikesight.costs.work import NeuronActivity, Work
from spikesight.errors import UserError
from spikesight.reports.text_table import si_number, text_table

if TYPE_CHECKING:
    from spikesight.costs.comparison import EnergyComparison
    from spikesight.costs.cost_models import CostModel
    from spikesight.costs.firing_maps import FiringMaps
    from spikesight.costs.trade_off import Measured


@dataclass(frozen=True)
class LayerEnergy:
    """What one synapse factor or attention product costs per sample.

    Attributes:
        name: The layer's path in the model.
        kind: "first layer", "synapse", "real-valued synapse", "attention product", "gate" (an
            AND of spikes, counted as nothing; counts above 1 on both sides add), "spike sum",
            "upsampling", "bilinear sampling" and its "attention weights", or "mask product".
        macs: Dense multiply-accumulates per time step, zero padding included, as FLOP counters
            count them.
        firing_rate: Mean input spike in [0, 1]; None where the input is real-valued.
        mean_count: Mean input count per time step, in [0, D]; None likewise.
        accumulates: Accumulations by actual spikes over all T x D steps: each spike times the
            outputs that it really reaches; and the additions of shifts and additions that
            interpolate.
        multiplies: Multiply-accumulates over all time steps.
        paper_accumulates: The papers' estimate of `accumulates`, mean count * T * MACs
            (QSD-Transformer eqs. 28-30); it ignores the border. Attention products count K and Q.
        twin_macs: Dense multiply-accumulates of the same layer of the ANN twin, RepConv unfolded,
            one time step.
        weight_bits: Bits of the weights, where they are quantised.
        attention: The products beside softmax attention, where the layer is an attention product.
        nonzero: Share of the counts that it reads that are not zero; None where it reads none.
    """

    name: str
    kind: str
    macs: float
    firing_rate: float | None
    mean_count: float | None
    accumulates: float
    multiplies: float
    paper_accumulates: float
    twin_macs: float
    weight_bits: int | None = None
    attention: AttentionEnergy | None = None
    nonzero: float | None = None

    @property
    def low_bit_picojoules(self) -> float:
        """Energy per sample with low-bit additions at their share (QSD-Transformer eq. 30).

        An addition of a weight of 4, 3 or 2 bits counts 1/8, 1/16 or 1/32 of one in 32-bit floating
        point (reconstructed shares). Multiplications and attention products keep their price.
        """
        added = ACCUMULATE_PJ * self.accumulates * low_bit_share(self.weight_bits)
        return MULTIPLY_ACCUMULATE_PJ * self.multiplies + added

    @property
    def picojoules(self) -> float:
        """Energy per sample."""
        return MULTIPLY_ACCUMULATE_PJ * self.multiplies + ACCUMULATE_PJ * self.accumulates

    @property
    def twin_picojoules(self) -> float:
        """Energy per sample of the ANN twin's layer."""
        return MULTIPLY_ACCUMULATE_PJ * self.twin_macs


@dataclass(frozen=True)
class EnergyReport:
    """Energy per sample, layer by layer.

    Counts are of the folded network, at the prices of `spikesight.costs.prices`. As in the papers,
    memory access, neuron updates and residual additions are left out.

    Attributes:
        layers: One entry per synapse factor and attention product.
        samples: Number of samples that firing was averaged over.
        firing_rates: Mean spike of every neuron in [0, 1], by path; empty for an ANN.
        host_code: What is computed between networks and not counted; empty where there is one.
        works: What every layer does, neurons and shortcuts included, which `under` prices.
        neurons: How each layer of neurons fires: what is silent and what is full.
        what_if: What every layer would do with other numbers of time steps, by that number.
    """

    layers: tuple[LayerEnergy, ...]
    samples: int
    firing_rates: dict[str, float]
    host_code: str = ""
    works: tuple[Work, ...] = ()
    neurons: tuple[NeuronActivity, ...] = ()
    what_if: dict[int, tuple[Work, ...]] = field(default_factory=dict)

    def under(
        self, prices: str | Path | CostModel = "memory", steps: int | None = None
    ) -> EnergyComparison:
        """The network and its rivals under a cost model: binary spikes, counts, ANNs.

        Args:
            prices: A cost model; "paper", "integer", "memory" or "movement"; or a YAML file of own
                prices (`spikesight.costs.price_files`).
            steps: What if it had so many time steps; one of `what_if`.

        Returns:
            Energy layer by layer, in every form that the model prices.

        Raises:
            UserError: If there is no such model, or the file is damaged.
        """
        from spikesight.costs.comparison import compare
        from spikesight.costs.price_files import find_cost_model

        if steps is not None and steps not in self.what_if:
            raise UserError(
                f"the report does not know of {steps} time steps; pass steps=[{steps}] to "
                "spikesight.energy"
            )
        works = self.works if steps is None else self.what_if[steps]
        return compare(works, find_cost_model(prices))

    def sum_of(self, field: str) -> float:
        """The sum of a number over the layers."""
        return float(sum(getattr(layer, field) for layer in self.layers))

    @property
    def picojoules(self) -> float:
        """Energy per sample."""
        return self.sum_of("picojoules")

    @property
    def low_bit_picojoules(self) -> float | None:
        """Energy per sample by QSD-Transformer's eq. 30; None where no weight has few bits."""
        if all(low_bit_share(layer.weight_bits) == 1 for layer in self.layers):
            return None
        return self.sum_of("low_bit_picojoules")

    @property
    def twin_picojoules(self) -> float:
        """Energy per sample of the ANN twin."""
        return self.sum_of("twin_picojoules")

    @property
    def paper_picojoules(self) -> float:
        """Energy per sample by the papers' formula instead of actual spikes."""
        return sum(
            MULTIPLY_ACCUMULATE_PJ * layer.multiplies + ACCUMULATE_PJ * layer.paper_accumulates
            for layer in self.layers
        )

    @property
    def nonzero_by_mac(self) -> float | None:
        """Share of counts that are not zero, each counted by the dense operations that read it.

        What a kernel that skips zeros still has to do. None where nothing reads counts.
        """
        reading = [layer for layer in self.layers if layer.nonzero is not None and layer.macs]
        macs = sum(layer.macs for layer in reading)
        read = sum(layer.macs * layer.nonzero for layer in reading if layer.nonzero is not None)
        return read / macs if macs else None

    def table(self) -> str:
        """The report as text."""
        rows = [_row(layer) for layer in self.layers]
        header = (
            *("layer", "kind", "MACs", "rate", "nonzero", "accumulates", "multiplies", "nJ"),
            "ANN twin nJ",
        )
        total = (
            "total",
            "",
            si_number(self.sum_of("macs")),
            "",
            _share(self.nonzero_by_mac),
            si_number(self.sum_of("accumulates")),
            si_number(self.sum_of("multiplies")),
            f"{self.picojoules / 1e3:,.1f}",
            f"{self.twin_picojoules / 1e3:,.1f}",
        )
        share = self.picojoules / self.twin_picojoules
        few = self.low_bit_picojoules
        low_bit = "" if few is None else f"\n{LOW_BIT_NOTE}: {few / 1e3:,.1f} nJ"
        return (
            text_table(header, [*rows, total])
            + f"\nper sample, mean of {self.samples}; {share:.3f} of the ANN twin's; by the "
            + f"papers' formula {self.paper_picojoules / 1e3:,.1f} nJ. {MULTIPLY_ACCUMULATE_PJ} pJ "
            + f"per multiply, {ACCUMULATE_PJ} pJ per accumulate; memory, neuron updates and "
            + "residual additions not counted"
            + (f", nor host code: {self.host_code}" if self.host_code else "")
            + low_bit
        )

    def attention_table(self) -> str:
        """The attention products beside softmax attention of the same size, as text."""
        header = ("attention", "queries", "channels", "heads", "nJ", "softmax attention nJ")
        rows = [
            (
                layer.name,
                str(part.queries),
                str(part.channels),
                str(part.heads),
                f"{part.picojoules / 1e3:,.2f}",
                f"{part.softmax_picojoules / 1e3:,.2f}",
            )
            for layer in self.layers
            if (part := layer.attention) is not None
        ]
        return text_table(header, rows)

    def to_html(
        self,
        path: str | Path,
        maps: FiringMaps | None = None,
        networks: Sequence[Measured] = (),
    ) -> None:
        """Writes the report as one self-contained page; its folder is made if it is not there.

        Args:
            path: The file.
            maps: Where neurons fire on a photo, which the page shows.
            networks: Several networks, this one among them: accuracy against energy.
        """
        from spikesight.costs.page import energy_page
        from spikesight.files.writing import place_for_file

        text = energy_page(self, maps, networks)
        place_for_file(Path(path), "html").write_text(text, encoding="utf-8")


def _row(layer: LayerEnergy) -> tuple[str, ...]:
    shares = (_share(layer.firing_rate), _share(layer.nonzero))
    counts = (si_number(layer.accumulates), si_number(layer.multiplies))
    energy_nj = (f"{layer.picojoules / 1e3:,.1f}", f"{layer.twin_picojoules / 1e3:,.1f}")
    return (layer.name, layer.kind, si_number(layer.macs), *shares, *counts, *energy_nj)


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.3f}"
