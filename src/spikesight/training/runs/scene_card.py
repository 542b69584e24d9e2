"""What belongs to a trained segmenter besides its weights."""

from __future__ import annotations

from spikesight.errors import UserError

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from spikesight.data.segmentation import SceneConfig, ScenePreprocessing
from spikesight.files.documents import check
from spikesight.files.tensors import COPY_AGAIN
from spikesight.inference import ViewConfig
from spikesight.training.runs.checkpoint import Card
from spikesight.training.config import TaskName, from_mapping, merge
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.kinds import FIGURES
from spikesight.training.runs.folder import (
    CARD,
    card_name,
    check_card_fits,
    describe_task,
    read_card,
    saved_task,
)


@dataclass(frozen=True)
class SceneCard:
    """What belongs to a trained segmenter besides its weights.

    Attributes:
        task: "semantic" or "panoptic".
        data: The scenes it was trained on; None if that is not known here.
        preprocessing: What turns a photo into its input, and its classes.
        epoch: Number of epochs it was trained for, the begun one not counted.
        weights: "model", or "ema" for the moving average.
        metrics: Its validation figures, if it was validated.
        view: How photos were shown to it in validation.
        precision: The autocast type it was trained in; None where older versions did not say.
    """

    task: TaskName
    data: SceneConfig | None
    preprocessing: ScenePreprocessing
    epoch: int
    weights: str
    metrics: Figures | None
    view: ViewConfig
    precision: str | None = None

    def write(self, folder: Path) -> None:
        """Writes run.json."""
        (folder / CARD).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The content of run.json."""
        content = {
            "task": self.task,
            "scenes": None if self.data is None else asdict(self.data),
            "view": asdict(self.view),
            "preprocessing": self.preprocessing.to_dict(),
            "epoch": self.epoch,
            "weights": self.weights,
            "metrics": None if self.metrics is None else dict(vars(self.metrics)),
            "precision": self.precision,
        }
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def read(cls, folder: Path) -> SceneCard:
        """Reads run.json.

        Raises:
            FileNotFoundError: If the folder has none.
            ValueError: If it is damaged or of no segmenter.
        """
        task = saved_task(folder)
        if task not in ("semantic", "panoptic"):
            raise UserError(
                f"{folder} holds {describe_task(task)} and this works on segmenters; pass the run "
                "of one"
            )
        file: Any = _CardFile
        kind, name = file[FIGURES[task]], card_name(folder)
        card = check(read_card(folder), kind, name, remedy=COPY_AGAIN)
        seen = card.preprocessing
        check_card_fits(folder, len(seen.classes), seen.channels, every_output=True)
        return cls(
            task,
            card.scenes,
            card.preprocessing,
            card.epoch,
            card.weights,
            card.metrics,
            card.view,
            card.precision,
        )

    def seen(self, changes: dict[str, Any]) -> ViewConfig:
        """How photos are shown, with some fields changed.

        Args:
            changes: New values, as YAML or a command line gives them.

        Raises:
            ValueError: If a field is unknown or a value invalid.
        """
        return from_mapping(ViewConfig, merge(asdict(self.view), changes))


FiguresT = TypeVar("FiguresT")


class _CardFile(msgspec.Struct, Generic[FiguresT], forbid_unknown_fields=True):
    """What run.json of a segmenter holds."""

    task: TaskName
    scenes: SceneConfig | None
    view: ViewConfig
    preprocessing: ScenePreprocessing
    epoch: Annotated[int, msgspec.Meta(ge=0)]
    weights: Literal["model", "ema"]
    metrics: FiguresT | None
    precision: Literal["no", "bf16", "fp16"] | None = None


def read_any_card(folder: Path, *, trunks: bool = False) -> Card | SceneCard:
    """The card of a classifier or a segmenter.

    Args:
        folder: Folder of a model, or a .spk file.
        trunks: Whether pre-trained trunks are taken too.

    Raises:
        FileNotFoundError: If it has none.
        UserError: If it is damaged or of another task.
    """
    task = saved_task(folder)
    if task in ("semantic", "panoptic"):
        return SceneCard.read(folder)
    return Card.read(folder, task if trunks else "classification")
