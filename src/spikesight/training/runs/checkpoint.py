"""The state to go on from, which a run leaves in last/ beside its model."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from accelerate import Accelerator

from spikesight.errors import UserError
from spikesight.files.documents import check
from spikesight.files.ranges import Count
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig, from_mapping
from spikesight.training.runs.card import Card
from spikesight.training.runs.storage import (
    new_sibling,
    read_state,
    replaced_folder,
    write_state,
)
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.table import find_task

_STATE = "training"

# What may differ between the parts of an interrupted run without changing its figures, and the
# number of epochs, which changes the schedule on purpose.
_FREE_FIELDS = {
    "licence",
    "imports",
    "epochs",
    "output",
    "resume",
    "checkpoint_minutes",
    "patience",
    "log_every",
    "validate_every",
    "compile",
    "memory",
    "device",
    "data.path",
    "data.workers",
    "scenes.path",
    "scenes.photos",
    "scenes.workers",
    "objects.path",
    "objects.workers",
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
        memory: Most memory in use, in bytes.
        waiting: Time of it in which no image was ready.
    """

    loss: float = 0.0
    batches: Count = 0
    images: Count = 0
    seconds: float = 0.0
    memory: Count = 0
    waiting: float = 0.0


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
    def of(cls, loaders: Any) -> DataSummary:
        """The data behind the loaders of a task."""
        return cls(
            tuple(loaders.classes), len(loaders.train.dataset), len(loaders.validation.dataset)
        )

    def check_same(self, now: DataSummary, folder: Path) -> None:
        """Refuses to go on with other data.

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


FiguresT = TypeVar("FiguresT")


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
        without_better: Validations since the best one.
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
    without_better: int = 0

    def save(self, folder: Path, model: SpikingModel, card: Card, accelerator: Accelerator) -> None:
        """Replaces last/ by the model and this state; all processes call it together."""
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
            "without_better": self.without_better,
        }
        main = accelerator.is_main_process
        with replaced_folder(folder) if main else nullcontext(new_sibling(folder)) as new:
            accelerator.wait_for_everyone()
            if main:
                model.save_pretrained(new)
                card.write(new)
            write_state(new, _STATE, content, main=main)
            accelerator.wait_for_everyone()
        accelerator.wait_for_everyone()

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
        task = find_task(config.get("task", "classification"), f"{name}: config.task", remedy)
        file: Any = _StateFile
        state = check(content, file[task.figures], name, remedy=remedy)
        # Before "auto" there was nothing to decide.
        precision = state.precision or config.get("precision", "no")
        fields = {field: getattr(state, field) for field in state.__struct_fields__}
        return cls(**fields | {"precision": precision})

    def finished(self, epochs: int, folder: Path) -> tuple[Figures, Figures] | None:
        """The figures of a run that has had all its epochs.

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

        Fields that the run did not know yet when it was started had their defaults, but several
        processes had statistics of their own. A precision or channels_last of "auto" stays what it
        was when the run began. Another number of processes may share the images of an update
        otherwise.

        Raises:
            ValueError: If something differs that changes the figures.
        """
        try:
            before = self._configuration()
        except UserError as error:
            raise UserError(
                f"{folder} holds a configuration that cannot be ({error}); start again from "
                "another checkpoint"
            ) from error
        asked, started = _flatten(config.to_mapping()), _flatten(before.to_mapping())
        started["precision"] = self.precision
        if config.precision == "auto":
            asked["precision"] = self.precision
        if config.channels_last == "auto":
            asked["channels_last"] = started["channels_last"]
        different = sorted(
            name
            for name in asked.keys() | started.keys()
            if name not in _FREE_FIELDS and asked.get(name) != started.get(name)
        )
        if processes != self.processes:
            different = self._without_shares(different, before, config, processes)
        if different:
            raise UserError(
                f"cannot go on from {folder}: {', '.join(different)} changed since it was "
                "started; pass the same values (config.yaml there has them), or start a new run "
                f"with another output and model.weights={folder}"
            )

    def shared_among(self, processes: int, accumulation: int) -> RunState:
        """The state as so many processes would have left it, with so many batches per update."""
        batches = Fraction(accumulation, self._configuration().accumulation)
        shares = batches * Fraction(processes, self.processes)
        position = replace(self.position, batch=int(self.position.batch * batches))
        sums = replace(
            self.sums,
            loss=self.sums.loss if shares == 1 else self.sums.loss * float(shares),
            batches=int(self.sums.batches * shares),
        )
        return replace(self, position=position, sums=sums, processes=processes)

    def _configuration(self) -> TrainConfig:
        known = self.config if self.processes == 1 else {"sync_batch_norm": False} | self.config
        return from_mapping(TrainConfig, known)

    def _without_shares(
        self, different: list[str], before: TrainConfig, now: TrainConfig, processes: int
    ) -> list[str]:
        """What differs besides how an update's images are shared among the processes."""
        then = before.batch_size * before.accumulation * self.processes
        images = now.batch_size * now.accumulation * processes
        if then != images:
            shares = "batch_size x accumulation x processes"
            return [*different, f"the images of an update ({shares}: {then} then, {images} now)"]
        free = {"batch_size", "accumulation"} if now.limit_batches is None else {"batch_size"}
        return [name for name in different if name not in free]


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
    without_better: Count = 0


def _plain(figures: Figures | None) -> dict[str, Any] | None:
    """The fields of figures, which are dataclasses."""
    return None if figures is None else dict(vars(figures))


def _flatten(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
