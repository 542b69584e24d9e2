"""The figures of a run: metrics.csv, firing.csv and TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from spikesight.errors import FileError
from spikesight.files.opening import read_text
from spikesight.files.replacing import write_text
from spikesight.training.runs.checkpoint import EpochSums
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.findings import Sight

_BEFORE = ("epoch", "train_loss", "lr")
_AFTER = ("firing_rate", "silent_neurons", "images_per_second", "seconds", "peak_memory")
_LONGEST_NUMBER = 9
_WIDEST_PICTURE = 960
FIRING = "firing.csv"
"""Firing rate of every neuron layer after every validation."""
Row = dict[str, float | int | None]


class EpochTable:
    """A CSV file with one row per epoch.

    Args:
        path: The file.
        columns: Its columns, "epoch" among them.
        first_epoch: Number of the epoch that comes next, from 1; rows of a broken-off run from
            there on are dropped.

    Raises:
        FileError: If the file is there and is none of such a run.
    """

    def __init__(self, path: Path, columns: Sequence[str], first_epoch: int) -> None:
        self._path = path
        self.columns = tuple(columns)
        self._rows: list[dict[str, str]] = []
        if path.is_file():
            self._rows = [r for r in self._read_rows() if int(r["epoch"]) < first_epoch]

    def _read_rows(self) -> list[dict[str, str]]:
        lines = io.StringIO(read_text(self._path), newline="")
        try:
            rows: list[dict[str, str]] = list(csv.DictReader(lines, strict=True))
        except csv.Error as error:
            raise FileError(f"{self._path}: is no CSV ({error}); move the file away") from error
        for number, row in enumerate(rows, start=2):
            epoch = row.get("epoch") or ""
            known = row.keys() <= set(self.columns)
            if not known or not epoch.isdecimal() or len(epoch) > _LONGEST_NUMBER:
                raise FileError(
                    f"{self._path}: line {number} is none of a run of this kind; move the file "
                    "away, it is written anew"
                )
        return rows

    def write(self, row: Row) -> None:
        """Adds an epoch, in the place of an earlier row of it; what is None stays empty.

        Args:
            row: Values of some of the columns.
        """
        assert set(row) <= set(self.columns)
        epoch = str(row["epoch"])
        self._rows = [r for r in self._rows if r["epoch"] != epoch]
        self._rows.append({k: "" if v is None else repr(v) for k, v in row.items()})
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self._path, text.getvalue())


class RunLog:
    """Writes one row per epoch to metrics.csv and firing.csv, and to TensorBoard what they say.

    Args:
        folder: Folder of the run.
        first_epoch: Number of the epoch that comes next, from 1; rows of a broken-off run from
            there on are dropped.
        figures: Names of the validation figures; they get a column for the model and one for the
            moving average.
        layers: Paths of the neuron layers whose firing rates are written; none of an ANN twin.
    """

    def __init__(
        self,
        folder: Path,
        first_epoch: int,
        figures: Sequence[str],
        layers: Sequence[str] = (),
    ) -> None:
        kinds = [f"{kind}_{name}" for kind in ("val", "ema") for name in figures]
        self.columns = (*_BEFORE, *kinds, *_AFTER)
        self._metrics = EpochTable(folder / "metrics.csv", self.columns, first_epoch)
        self._layers = tuple(layers)
        path = folder / FIRING
        self._firing = EpochTable(path, ("epoch", *layers), first_epoch) if layers else None
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def write_step(self, step: int, values: dict[str, float]) -> None:
        """Adds figures of an update to TensorBoard."""
        for name, value in values.items():
            self._board.add_scalar(f"step/{name}", value, step)

    def write_epoch(self, row: Row) -> None:
        """Adds the figures of an epoch; what was not measured stays empty.

        Args:
            row: Values for `columns`.
        """
        assert set(row) == set(self.columns)
        self._metrics.write(row)
        for name, value in row.items():
            if value is not None and name != "epoch":
                self._board.add_scalar(f"epoch/{name}", value, row["epoch"])
        self._board.flush()

    def write_firing(self, epoch: int, rates: Mapping[str, float]) -> None:
        """Adds the firing rates of an epoch's validation.

        Args:
            epoch: Its number.
            rates: In [0, 1], by the layer's path.
        """
        known = {name: rate for name, rate in rates.items() if name in self._layers}
        if self._firing is None or not known:
            return
        self._firing.write({"epoch": epoch, **known})
        for name, rate in known.items():
            self._board.add_scalar(f"firing/{name}", rate, epoch)
        self._board.flush()

    def write_pictures(self, epoch: int, sights: Sequence[Sight]) -> None:
        """Shows TensorBoard what a validated model makes of a few photos.

        Args:
            epoch: Number of the epoch.
            sights: Pictures, of the same names in every epoch.
        """
        for sight in sights:
            shown = sight.picture.convert("RGB")
            shown.thumbnail((_WIDEST_PICTURE, _WIDEST_PICTURE))
            pixels = np.asarray(shown)
            self._board.add_image(f"validation/{sight.name}", pixels, epoch, dataformats="HWC")
        self._board.flush()

    def close(self) -> None:
        """Writes what TensorBoard still holds."""
        self._board.close()


def epoch_row(
    epoch: int,
    lr: float,
    sums: EpochSums,
    columns: Sequence[str],
    own: Figures | None,
    averaged: Figures | None,
) -> Row:
    """The figures of an epoch, numbered from 1, by column; `lr` is that of its end."""
    row: Row = {"epoch": epoch, "train_loss": sums.loss / sums.batches, "lr": lr}
    for kind, figures in (("val", own), ("ema", averaged)):
        values = dict.fromkeys(columns) | ({} if figures is None else figures.columns())
        row |= {f"{kind}_{name}": value for name, value in values.items()}
    return row | {
        "firing_rate": None if own is None else own.firing_rate,
        "silent_neurons": None if own is None else len(own.silent_neurons),
        "images_per_second": sums.images / max(sums.seconds, 1e-9),
        "seconds": sums.seconds,
        "peak_memory": sums.memory,
    }
