"""Pictures of an analysis, drawn with matplotlib into files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spikesight.analysis import ScoreDistribution, Sensitivity
from spikesight.errors import UserError
from spikesight.files.names import show

_SPIKE, _TWIN = "#d55e00", "#0072b2"


def draw_score_histograms(distributions: Sequence[ScoreDistribution], path: Path) -> None:
    """Histograms of attention scores side by side, each with the normal distribution's line.

    Args:
        distributions: One per model.
        path: Picture to write; its ending says the format.

    Raises:
        ValueError: If there is nothing to draw.
    """
    import torch
    from matplotlib.figure import Figure

    if not distributions:
        raise UserError("there are no attention scores to draw; pass at least one distribution")
    count = len(distributions)
    figure = Figure(figsize=(3.2 * count, 3.2), layout="constrained")
    axes = figure.subplots(1, count, sharex=True, sharey=True, squeeze=False)[0]
    for axis, scores in zip(axes, distributions, strict=True):
        width = float(scores.edges[1] - scores.edges[0])
        middles = scores.edges[:-1] + width / 2
        normal = torch.exp(-middles.square() / 2) * width / (2 * torch.pi) ** 0.5
        axis.bar(middles.tolist(), scores.shares.tolist(), width, color=_SPIKE)
        axis.plot(middles.tolist(), normal.tolist(), color=_TWIN, label="normal")
        axis.set_title(
            f"{show(scores.name)}\n{scores.entropy:.2f} of {scores.normal_entropy:.2f} bits",
            fontsize=9,
            parse_math=False,
        )
        axis.set_xlabel("(score - mean) / deviation")
    axes[0].set_ylabel("share of the scores")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def draw_sensitivity(results: Sequence[Sensitivity], path: Path, unit: str = "top-1 (%)") -> None:
    """Bars of what is measured with each group of modules changed.

    Args:
        results: As `module_sensitivity` gives them.
        path: Picture to write; its ending says the format.
        unit: What was measured, for the axis.

    Raises:
        ValueError: If there is nothing to draw.
    """
    from matplotlib.figure import Figure

    if not results:
        raise UserError("there is no sensitivity to draw; pass what module_sensitivity returned")
    figure = Figure(figsize=(1.4 * len(results) + 1, 3.2), layout="constrained")
    axis = figure.subplots()
    names = [show(result.group) for result in results]
    colours = [_TWIN if result.group == "nothing" else _SPIKE for result in results]
    bars = axis.bar(names, [result.measured for result in results], color=colours)
    axis.bar_label(bars, [f"{r.measured:.1f}\n({r.difference:+.1f})" for r in results], fontsize=8)
    for label in axis.get_xticklabels():
        label.set_parse_math(False)
    axis.margins(y=0.2)
    axis.set_ylabel(unit, parse_math=False)
    axis.set_xlabel("what is changed")
    figure.savefig(path, dpi=120)
