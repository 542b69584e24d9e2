"""What a run leaves behind: trained models, and the state to go on from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from spikesight.data import DataConfig, EventPreprocessing, Preprocessing
from spikesight.errors import UserError
from spikesight.files.documents import check
from spikesight.files.ranges import Count
from spikesight.files.tensors import COPY_AGAIN
from spikesight.models import SpikingModel
from spikesight.training.config import TaskName, TrainConfig, from_mapping
from spikesight.training.runs.data_summary import DataSummary
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.kinds import FIGURES
from spikesight.training.runs.folder import (
    CARD,
    CardLike,
    card_name,
    check_card_fits,
    describe_task,
    read_card,
    saved_task,
)
from spikesight.training.runs.storage import read_state, replaced_folder, write_state

_STATE = "training"

# What may differ between the parts of an interrupted run without changing its figures, and the
# number of epochs, which changes the schedule on purpose.
_FREE_FIELDS = {
    "imports",
    "epochs",
    "output",
    "resume",
    "checkpoint_minutes",
    "log_every",
    "validate_every",
    "compile",
    "device",
    "data.path",
    "data.workers",
    "scenes.path",
    "scenes.photos",
    "scenes.workers",
}


@dataclass
class Position:
    """How far a run is.

    Attributes:
        epoch: Number of the current epoch.
        batch: Batches of it that lie behind.
        update: Updates since the start of the run.
    """

    epoch: Count = 0
    batch: Count = 0
    update: Count = 0


@dataclass
class EpochSums:
    """Sums over the part of the current epoch that lies behind.

    Attributes:
        loss: Sum of the batches' losses.
        batches: Number of batches.
        images: Number of images, of all processes.
        seconds: Time spent.
    """

    loss: float = 0.0
    batches: Count = 0
    images: Count = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Card:
    """What belongs to a trained model besides its weights.

    Attributes:
        data: The data it was trained on; None if that is not known here.
        preprocessing: What turns an image into its input, and the names of its classes.
        epoch: Number of epochs it was trained for, the begun one not counted.
        weights: "model", or "ema" for the moving average.
        metrics: Its validation figures, if it was validated.
        task: "classification" or "masked_image".
        precision: The autocast type it was trained in; None where older versions did not say.
    """

    data: DataConfig | None
    preprocessing: Preprocessing | EventPreprocessing
    epoch: int
    weights: str
    metrics: Figures | None
    task: TaskName = "classification"
    precision: str | None = None

    def write(self, folder: Path) -> None:
        """Writes run.json."""
        (folder / CARD).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The content of run.json."""
        content = {
            "task": self.task,
            "data": None if self.data is None else asdict(self.data),
            "preprocessing": self.preprocessing.to_dict(),
            "epoch": self.epoch,
            "weights": self.weights,
            "metrics": _plain(self.metrics),
            "precision": self.precision,
        }
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def read(cls, folder: Path, task: TaskName = "classification") -> Card:
        """Reads run.json.

        Args:
            folder: Folder of a model.
            task: What the model must have been trained for.

        Raises:
            FileNotFoundError: If the folder has none.
            ValueError: If it is damaged or of another task.
        """
        saved = saved_task(folder)
        if saved != task:
            wanted = "classifiers" if task == "classification" else "pre-trained trunks"
            raise UserError(
                f"{folder} holds {describe_task(saved)} and this works on {wanted}; pass the run "
                "of one"
            )
        content = read_card(folder)
        kind: Any = Preprocessing
        steps = content.get("preprocessing")
        if isinstance(steps, dict) and EventPreprocessing.describes(steps):
            kind = EventPreprocessing
            del steps["kind"]
        file: Any = _CardFile
        card = check(content, file[kind, FIGURES[task]], card_name(folder), remedy=COPY_AGAIN)
        check_card_fits(folder, len(card.preprocessing.classes), card.preprocessing.channels)
        return cls(
            card.data,
            card.preprocessing,
            card.epoch,
            card.weights,
            card.metrics,
            task,
            card.precision,
        )


StepsT = TypeVar("StepsT")
FiguresT = TypeVar("FiguresT")


class _CardFile(msgspec.Struct, Generic[StepsT, FiguresT], forbid_unknown_fields=True):
    """What run.json of a classifier or of a pre-trained trunk holds."""

    data: DataConfig | None
    preprocessing: StepsT
    epoch: Annotated[int, msgspec.Meta(ge=0)]
    weights: Literal["model", "ema"]
    metrics: FiguresT | None
    task: TaskName = "classification"
    precision: Literal["no", "bf16", "fp16"] | None = None


@dataclass
class RunState:
    """Everything besides the weights that a run needs to go on bit for bit.

    There is no state of random generators: they are seeded anew for each batch from its place in
    the run.

    Attributes:
        position: How far the run is.
        sums: Figures of the current epoch so far.
        best: Figures of best/.
        last: Figures of the model as it is, if the epoch was validated.
        processes: Number of processes.
        config: The configuration the run was started with.
        optimizer: The optimiser's state.
        scaler: The loss scaler's state (fp16), else empty.
        ema: Tensors of the moving average, or empty.
        precision: The autocast type, as it was decided when the run began.
        data: What the run learns from; None in those that were written before it was kept.
    """

    position: Position
    sums: EpochSums
    best: Figures | None
    last: Figures | None
    processes: int
    config: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any] = field(default_factory=dict)
    ema: dict[str, Any] = field(default_factory=dict)
    precision: str = "no"
    data: DataSummary | None = None

    def save(self, folder: Path, model: SpikingModel, card: CardLike) -> None:
        """Replaces last/ by the model and this state.

        Args:
            folder: last/ of a run.
            model: The weights that belong to the state.
            card: What belongs to the model.
        """
        content = {
            "format": 1,
            "position": asdict(self.position),
            "sums": asdict(self.sums),
            "best": _plain(self.best),
            "last": _plain(self.last),
            "processes": self.processes,
            "config": self.config,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
            "ema": self.ema,
            "precision": self.precision,
            "data": None if self.data is None else asdict(self.data),
        }
        with replaced_folder(folder) as new:
            model.save_pretrained(new)
            card.write(new)
            write_state(new, _STATE, content)

    @classmethod
    def read(cls, folder: Path) -> RunState:
        """Reads the state in last/ of a run.

        Raises:
            FileNotFoundError: If it is not there.
            ValueError: If it is damaged or of another format.
        """
        content, name = read_state(folder, _STATE), str(folder / f"{_STATE}.json")
        if content.pop("format", None) != 1:
            raise UserError(
                f"{folder} was written by another version of spikesight; start a new run with "
                f"model.weights={folder}"
            )
        remedy = "start again from another checkpoint"
        config = check(content.get("config"), dict[str, Any], f"{name}: config", remedy=remedy)
        kinds: Any = FIGURES
        task = config.get("task", "classification")
        if not isinstance(task, str) or task not in kinds:
            raise UserError(f"{name}: config.task: there is no task {task!r}; {remedy}")
        file: Any = _StateFile
        state = check(content, file[kinds[task]], name, remedy=remedy)
        # Before "auto" there was nothing to decide.
        precision = state.precision or config.get("precision", "no")
        fields = {field: getattr(state, field) for field in state.__struct_fields__}
        return cls(**fields | {"precision": precision})

    def finished(self, epochs: int, folder: Path) -> tuple[Figures, Figures] | None:
        """The figures of a run that has had all its epochs.

        Args:
            epochs: How many these are.
            folder: last/ of the run, for the message.

        Returns:
            Those of best/ and of last/; None if the run goes on.

        Raises:
            ValueError: If the run is past so many epochs but was not validated where it stands.
        """
        if self.position.epoch < epochs:
            return None
        if self.best is None or self.last is None:
            wanted = self.position.epoch + 1
            raise UserError(
                f"epochs is {epochs} but {folder} goes on in epoch {wanted}; pass epochs={wanted} "
                "or more, or another output"
            )
        return self.best, self.last

    def check_continues(self, config: TrainConfig, processes: int, folder: Path) -> None:
        """Refuses to go on with another configuration.

        Fields that the run did not know yet when it was started had their defaults. A precision of
        "auto" stays what it was when the run began.

        Args:
            config: The configuration to go on with.
            processes: Number of processes to go on with.
            folder: last/ of the run, for the message.

        Raises:
            ValueError: If something differs that changes the figures.
        """
        try:
            before = from_mapping(TrainConfig, self.config)
        except UserError as error:
            raise UserError(
                f"{folder} holds a configuration that cannot be ({error}); start again from "
                "another checkpoint"
            ) from error
        asked, started = _flatten(config.to_mapping()), _flatten(before.to_mapping())
        started["precision"] = self.precision
        if config.precision == "auto":
            asked["precision"] = self.precision
        different = sorted(
            name
            for name in asked.keys() | started.keys()
            if name not in _FREE_FIELDS and asked.get(name) != started.get(name)
        )
        if processes != self.processes:
            different.append(f"the number of processes ({self.processes} then, {processes} now)")
        if different:
            raise UserError(
                f"cannot go on from {folder}: {', '.join(different)} changed since it was "
                "started; pass the same values (config.yaml there has them), or start a new run "
                f"with another output and model.weights={folder}"
            )


class _StateFile(msgspec.Struct, Generic[FiguresT], forbid_unknown_fields=True):
    """What training.json and training.safetensors hold, but for the number of their format."""

    position: Position
    sums: EpochSums
    best: FiguresT | None
    processes: Annotated[int, msgspec.Meta(ge=1)]
    config: dict[str, Any]
    optimizer: dict[str, Any]
    last: FiguresT | None = None
    scaler: dict[str, Any] = {}
    ema: dict[str, Any] = {}
    precision: Literal["no", "bf16", "fp16"] | None = None
    data: DataSummary | None = None


def _plain(figures: Figures | None) -> dict[str, Any] | None:
    """The fields of figures, which are dataclasses."""
    return None if figures is None else dict(vars(figures))


def _flatten(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
