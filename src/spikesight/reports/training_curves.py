"""How training went, drawn from the metrics.csv of runs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spikesight.errors import UserError
from spikesight.files.opening import read_text
from spikesight.reports.charts import Curve, Tone, legend, line_chart


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

    def column(self, name: str) -> list[tuple[float, float]]:
        """Epoch and value of every row that has one.

        Args:
            name: A column of metrics.csv.

        Raises:
            FileNotFoundError: If the folder has no metrics.csv.
            UserError: If it has no such column.
        """
        path = self.folder / "metrics.csv"
        if not path.is_file():
            raise FileNotFoundError(f"{self.folder} has no metrics.csv; pass the folder of a run")
        reader = csv.DictReader(read_text(path).split("\n"))
        if name not in (reader.fieldnames or ()):
            raise UserError(f"{path} has no column {name}; it has {reader.fieldnames}")
        try:
            return [(float(row["epoch"]), float(row[name])) for row in reader if row[name]]
        except (TypeError, ValueError, csv.Error) as error:
            raise UserError(f"{path} is damaged ({error}); train again") from error


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
