"""The figures of a run: metrics.csv and TensorBoard."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from spikesight.training.storage import write_text

COLUMNS = (
    "epoch",
    "train_loss",
    "lr",
    "val_top1",
    "val_top5",
    "val_loss",
    "ema_top1",
    "ema_top5",
    "ema_loss",
    "firing_rate",
    "images_per_second",
    "seconds",
)
Row = dict[str, float | int | None]


class RunLog:
    """Writes one row per epoch to metrics.csv and the same figures to TensorBoard.

    Args:
        folder: Folder of the run.
        first_epoch: Number of the epoch that comes next, from 1; rows of a broken-off run from
            there on are dropped.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        self._path = folder / "metrics.csv"
        self._rows: list[dict[str, str]] = []
        if self._path.is_file():
            with self._path.open(newline="", encoding="utf-8") as file:
                self._rows = [r for r in csv.DictReader(file) if int(r["epoch"]) < first_epoch]
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def write_step(self, step: int, values: dict[str, float]) -> None:
        """Adds figures of an update to TensorBoard."""
        for name, value in values.items():
            self._board.add_scalar(f"step/{name}", value, step)

    def write_epoch(self, row: Row) -> None:
        """Adds the figures of an epoch; what was not measured stays empty.

        Args:
            row: Values for `COLUMNS`.
        """
        assert set(row) == set(COLUMNS)
        epoch = row["epoch"]
        self._rows = [r for r in self._rows if r["epoch"] != str(epoch)]
        self._rows.append({k: "" if v is None else repr(v) for k, v in row.items()})
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
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
