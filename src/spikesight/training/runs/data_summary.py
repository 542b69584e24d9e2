"""What a run learns from, as far as going on with it needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spikesight.errors import UserError

if TYPE_CHECKING:
    from spikesight.training.tasks.base import Task


@dataclass(frozen=True)
class DataSummary:
    """The data of a run.

    Attributes:
        classes: Names of the classes.
        images: Number of training images.
        validation_images: Number of validation images.
    """

    classes: tuple[str, ...]
    images: int
    validation_images: int

    @classmethod
    def of(cls, task: Task) -> DataSummary:
        """The data that a task has read."""
        loaders = task.loaders
        return cls(
            tuple(loaders.classes), len(loaders.train.dataset), len(loaders.validation.dataset)
        )

    def check_same(self, now: DataSummary, folder: Path) -> None:
        """Refuses to go on with other data.

        Args:
            now: The data to go on with.
            folder: last/ of the run, for the message.

        Raises:
            UserError: If they differ from these.
        """
        differences = []
        if self.classes != now.classes:
            counts = f"on {len(self.classes)} classes, data now has {len(now.classes)}"
            new = [name for name in now.classes if name not in self.classes]
            gone = [name for name in self.classes if name not in now.classes]
            changes = [
                f"{names[0]} is {what}" for names, what in ((new, "new"), (gone, "gone")) if names
            ]
            differences.append(f"{counts} ({', '.join(changes) or 'in another order'})")
        for kind in ("", "validation "):
            field = f"{kind}images".replace(" ", "_")
            then, today = getattr(self, field), getattr(now, field)
            if then != today:
                what = kind or "training "
                differences.append(f"on {then} {what}images, data now has {today}")
        if differences:
            raise UserError(
                f"cannot go on from {folder}: the run was started {'; '.join(differences)}; bring "
                "the same data back, or start a new run with another output and "
                f"model.weights={folder}"
            )
