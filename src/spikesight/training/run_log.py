"""The figures of a run: metrics.csv and TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from spikesight.errors import FileError
from spikesight.files.opening import read_text
from spikesight.files.replacing import write_text
from spikesight.training.runs.checkpoint import EpochSums
from spikesight.training.tasks.figures import Figures

_BEFORE = ("epoch", "train_loss", "lr")
_AFTER = ("firing_rate", "silent_neurons", "images_per_second", "seconds", "peak_memory")
_LONGEST_NUMBER = 9
Row = dict[str, float | int | None]


class RunLog:
    """Writes one row per epoch to metrics.csv and the same figures to TensorBoard.

    Args:
        folder: Folder of the run.
        first_epoch: Number of the epoch that comes next, from 1; rows of a broken-off run from
            there on are dropped.
        figures: Names of the validation figures; they get a column for the model and one for the
            moving average.
    """

    def __init__(self, folder: Path, first_epoch: int, figures: Sequence[str]) -> None:
        kinds = [f"{kind}_{name}" for kind in ("val", "ema") for name in figures]
        self.columns = (*_BEFORE, *kinds, *_AFTER)
        self._path = folder / "metrics.csv"
        self._rows: list[dict[str, str]] = []
        if self._path.is_file():
            self._rows = [r for r in self._read_rows() if int(r["epoch"]) < first_epoch]
        self._board = SummaryWriter(str(folder / "tensorboard"))

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
        epoch = row["epoch"]
        self._rows = [r for r in self._rows if r["epoch"] != str(epoch)]
        self._rows.append({k: "" if v is None else repr(v) for k, v in row.items()})
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self._path, text.getvalue())
        for name, value in row.items():
            if value is not None and name != "epoch":
                self._board.add_scalar(f"epoch/{name}", value, epoch)
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
