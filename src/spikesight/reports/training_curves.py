"""How training went, drawn from the metrics.csv of runs."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spikesight.errors import UserError
from spikesight.files.opening import read_text
from spikesight.reports.charts import Curve, Tone, legend, line_chart

_FIGURES = 3  # validation figures that get a chart
_WRITTEN = {
    **{"top1": "top-1", "top5": "top-5", "miou": "mIoU"},
    **{name: name.upper() for name in ("ap", "ap50", "ap75", "pq", "sq", "rq")},
}


@dataclass(frozen=True)
class Run:
    """A training run to draw.

    Attributes:
        name: What the legend calls it.
        tone: Its colour.
        folder: Folder of the run, with metrics.csv.
    """

    name: str
    tone: Tone
    folder: Path

    def column(self, name: str, file: str = "metrics.csv") -> list[tuple[float, float]]:
        """Epoch and value of every row that has one.

        Args:
            name: A column of the file.
            file: Its name, within the folder.

        Raises:
            FileNotFoundError: If the folder has no such file.
            UserError: If it has no such column.
        """
        path, reader = self._read(file)
        if name not in (reader.fieldnames or ()):
            raise UserError(f"{path} has no column {name}; it has {reader.fieldnames}")
        try:
            return [(float(row["epoch"]), float(row[name])) for row in reader if row[name]]
        except (TypeError, ValueError, csv.Error) as error:
            raise UserError(f"{path} is damaged ({error}); train again") from error

    def columns(self, file: str = "metrics.csv") -> Sequence[str]:
        """The columns of a file; errors as of `column`."""
        return self._read(file)[1].fieldnames or ()

    def _read(self, file: str) -> tuple[Path, csv.DictReader[str]]:
        path = self.folder / file
        if not path.is_file():
            raise FileNotFoundError(f"{self.folder} has no {file}; pass the folder of a run")
        return path, csv.DictReader(read_text(path).split("\n"))


def training_curves(runs: Sequence[Run]) -> str:
    """Held-out accuracy and training loss over the epochs, side by side.

    Args:
        runs: What to draw.
    """

    def curves(column: str) -> list[Curve]:
        return [Curve(run.name, run.tone, run.column(column)) for run in runs]

    accuracy = line_chart(
        "Accuracy on held-out images", curves("val_top1"), "epoch", "{:g} %".format
    )
    loss = line_chart("Loss in training", curves("train_loss"), "epoch", "{:.2g}".format)
    return legend([(run.tone, run.name) for run in runs]) + (
        f'<div class="charts">{accuracy}{loss}</div>'
    )


def run_curves(folder: Path, figures: Sequence[str], averaged: bool) -> str:
    """What one run learned: losses, validation figures, firing rate and learning rate.

    Args:
        folder: Folder of the run, with metrics.csv.
        figures: Columns of its validation figures, without what they begin with.
        averaged: Whether the moving average of the weights was validated too.
    """
    kinds: list[tuple[str, str, Tone]] = [("the weights in validation", "val", "spike")]
    if averaged:
        kinds.append(("their moving average", "ema", "average"))
    losses: list[tuple[str, str, Tone]] = [("in training", "train_loss", "learning")]
    if "loss" in figures:
        losses += [(name, f"{kind}_loss", tone) for name, kind, tone in kinds]
    charts = [("loss", losses)]
    charts += [
        (figure_title(figure), [(name, f"{kind}_{figure}", tone) for name, kind, tone in kinds])
        for figure in [figure for figure in figures if figure != "loss"][:_FIGURES]
    ]
    charts.append(("mean firing rate", [("the weights in validation", "firing_rate", "spike")]))
    charts.append(("learning rate", [("in training", "lr", "learning")]))
    drawn = []
    for title, lines in charts:
        curves = [Curve(name, tone, _finite(folder, column)) for name, column, tone in lines]
        if any(curve.points for curve in curves):
            drawn.append(line_chart(title, curves, "epoch", _short))
    key: list[tuple[str, str]] = [("learning", "in training")]
    key += [(tone, name) for name, _, tone in kinds]
    return legend(key) + f'<div class="charts">{"".join(drawn)}</div>'


def figure_title(figure: str) -> str:
    """A column as tables of papers write it: mask AP50, mIoU, pixel accuracy."""
    return " ".join(_WRITTEN.get(word, word) for word in figure.split("_"))


def _short(value: float) -> str:
    """A value in six characters or so, such as 8e-4."""
    if 0 < abs(value) < 0.01:
        digits, _, power = f"{value:.1e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.4g}"


def _finite(folder: Path, column: str) -> list[tuple[float, float]]:
    points = Run("", "spike", folder).column(column)
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
