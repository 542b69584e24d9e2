"""What a task is: all that differs between runs with different aims, from YAML to pictures."""

from __future__ import annotations

import inspect
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.data import BatchLoader
from spikesight.data.config import Split
from spikesight.errors import UserError
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.objective import Objective
from spikesight.training.runs.card import Card
from spikesight.training.runs.description import Description
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.findings import Findings
from spikesight.training.tasks.options import PredictionOptions, ValidationOptions

Pipeline = Callable[..., Any]  # inputs, alone or in a list, to answers


@dataclass(frozen=True)
class Prepared:
    """A training batch on the device.

    Attributes:
        images: The model's input.
        targets: What it should say.
        count: Number of images that were read for it.
        told: What the model is told in training besides the images, each for every image.
    """

    images: Tensor
    targets: Any
    count: int
    told: tuple[Sequence[Any], ...] = ()


@dataclass(frozen=True)
class Choice:
    """What was chosen for photos that someone wants to train on.

    Attributes:
        fields: Fields of the configuration, without the path of the photos.
        lines: What was chosen and why, for the user.
    """

    fields: dict[str, Any]
    lines: list[str]


class Task(ABC):
    """An aim of training, with its whole life; `register_task` makes it known by its name.

    The class answers for configurations and trained models. An object is a run that reads its
    data: its batches, loss and validation. What is not overridden is refused with the task's name.

    Attributes:
        name: What configurations and cards call it.
        called: What its models are, with an article, for messages.
        section: The field of the configuration that says what is learned from.
        figures: The kind of its validation figures, which know what better means.
        batch_size: Images of a batch in validation, where nobody says another number.
        view_kind: The dataclass in which cards say how photos are shown or what is kept of what is
            found; None where there is nothing to say.
        data_option: What to pass where a model knows no data, for messages.
        sampling: Fields of the data that change where few training inputs are read.
        pictures: What `spikesight predict` writes if it is not told.
        unlabelled: Whether it learns from images without their labels, so that a linear probe can
            ask what it learned.
        rates_note: What is to be known of its layers' firing rates.
        classifies: Whether its models give classes that a teacher's logits can teach.
        noticed: What the last validation noticed, if the task notices anything.
        loaders: Loaders of this process: `train`, `validation`, `classes`, `preprocessing` and the
            `config` of the data.

    Args:
        config: The run.
        accelerator: Device, precision and processes.
    """

    name: ClassVar[str]
    called: ClassVar[str]
    section: ClassVar[str] = "data"
    figures: ClassVar[type[Figures]]
    batch_size: ClassVar[int] = 128
    view_kind: ClassVar[type | None] = None
    data_option: ClassVar[str] = "--data.path=FOLDER with one folder of photos per class"
    sampling: ClassVar[Mapping[str, Any]] = {}
    pictures: ClassVar[str] = "predictions"
    unlabelled: ClassVar[bool] = False
    rates_note: ClassVar[str] = ""
    classifies: ClassVar[bool] = False
    noticed: Findings | None = None
    loaders: Any

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        self.config = config
        self.accelerator = accelerator

    # The configuration

    @classmethod
    def check(cls, config: TrainConfig) -> None:
        """Refuses a configuration that the task cannot carry out.

        Args:
            config: All of it, its fields within their ranges.

        Raises:
            UserError: If fields are used that mean nothing here.
        """
        taught = config.distillation.logits != "none" and not cls.classifies
        for name, used, whom in (
            ("mix", config.mix.active, "classifiers"),
            ("label_smoothing", config.label_smoothing > 0, "classifiers"),
            ("distillation.logits", taught, "classifiers and segmenters"),
        ):
            if used:
                raise UserError(f"{name} is for {whom} and task is {config.task}; leave {name} out")

    @classmethod
    def check_feasible(cls, config: TrainConfig, model: SpikingModel, classes: int) -> None:
        """Refuses a model that cannot learn the task, before any data are read.

        Args:
            config: The run.
            model: The model, without memory.
            classes: Its classes; some number where only the data say it.

        Raises:
            UserError: If it cannot.
        """
        return

    @classmethod
    def check_classes(cls, wanted: int, classes: int) -> None:
        """Refuses a model with other classes than the data.

        Args:
            wanted: What model.num_classes asks for.
            classes: Classes of the data.

        Raises:
            UserError: If it does not fit.
        """
        if wanted < classes:
            raise UserError(
                f"model.num_classes is {wanted} but the data has {classes} classes; leave "
                "model.num_classes out"
            )

    @classmethod
    def complete(cls, config: TrainConfig, model: SpikingModel) -> SpikingModel:
        """The model that is trained: the one that the configuration names, or one around it."""
        return model

    @classmethod
    @abstractmethod
    def input_side(cls, config: TrainConfig) -> tuple[str, tuple[int, int]]:
        """The field that says how large a training input is; height and width."""

    @classmethod
    def input_channels(cls, config: TrainConfig) -> int:
        """Channels of a training input, as far as the configuration says it."""
        channels: int = getattr(getattr(config, cls.section), "channels", 3)
        return channels

    @classmethod
    def input_step(cls, model: SpikingModel) -> int:
        """What the sides of an input must be divisible by."""
        return model.stride

    @classmethod
    def positions(cls, model: SpikingModel, size: tuple[int, int]) -> int:
        """Positions of the last map of one input, over which normalisations take statistics."""
        return (size[0] // model.stride) * (size[1] // model.stride)

    @classmethod
    def reads(cls, path: str) -> bool:
        """Whether a folder or archive of photos, given alone to `spikesight train`, is for it."""
        return False

    @classmethod
    def choose(cls, path: str, asked: Mapping[str, str]) -> Choice:
        """Chooses a configuration for photos.

        Args:
            path: Folder or archive.
            asked: Options of the user by name, such as "model.name", whose values stand.

        Raises:
            UserError: If the photos cannot be used.
        """
        raise UserError(f"task is {cls.name}, for which nothing is chosen; pass a YAML file")

    # A run

    @property
    def train(self) -> BatchLoader[Any, Any]:
        """The training batches of this process."""
        loader: BatchLoader[Any, Any] = self.loaders.train
        return loader

    @property
    def classes(self) -> int:
        """Number of classes of the data."""
        return len(self.loaders.classes)

    @property
    def channels(self) -> int:
        """Channels of the images."""
        channels: int = self.loaders.preprocessing.channels
        return channels

    @property
    def subject(self) -> str:
        """What is to be learned, in two words or so."""
        return f"{self.classes} classes"

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know of the data before the run begins, in lines."""
        return ()

    @property
    def view(self) -> Any:
        """How photos are shown in validation, or what is kept of what is found: a `view_kind`."""
        return None

    @abstractmethod
    def objective(self, model: SpikingModel, device: torch.device) -> Objective:
        """What a model minimises."""

    @abstractmethod
    def prepare(self, images: Any, labels: Any, epoch: int, batch: int) -> Prepared:
        """Brings a training batch to the device and augments it there.

        Args:
            images: As the loader gives them.
            labels: As the loader gives them.
            epoch: Number of the epoch.
            batch: Number of the batch in the epoch.
        """

    def evaluate(self, model: nn.Module) -> Figures:
        """Measures a model on the validation images; `noticed` has what is no figure."""
        batches, limit = self.loaders.validation, self.config.limit_batches
        card, self.noticed = self.card(0, "model", None), self.findings()
        # Tasks of users may have a `measure` that tells nothing.
        telling = "findings" in inspect.signature(self.measure).parameters
        if self.noticed is None or not telling:
            self.noticed = None
            return self.measure(model, batches, card, self.accelerator, limit)
        return self.measure(model, batches, card, self.accelerator, limit, self.noticed)

    def findings(self) -> Findings | None:
        """What looks on while a model is validated, made anew for each time."""
        return None

    def illustrate(self, model: nn.Module, epoch: int) -> Path | None:
        """Draws what a validated model makes of a few images, in one process.

        Args:
            model: The model.
            epoch: Number of epochs it was trained for.

        Returns:
            The picture in the run's folder; None where the task has none.
        """
        return None

    def card(self, epoch: int, weights: str, figures: Figures | None) -> Card:
        """What belongs to a trained model besides its weights.

        Args:
            epoch: Number of epochs it was trained for.
            weights: "model" or "ema".
            figures: Its validation figures, if it was validated.
        """
        return Card(
            self.loaders.config,
            self.loaders.preprocessing,
            epoch,
            weights,
            figures,
            self.name,
            str(self.accelerator.mixed_precision),
            self.view,
            self.config.licence,
        )

    # Trained models

    @classmethod
    @abstractmethod
    def measure(
        cls,
        model: nn.Module,
        batches: Iterable[Any],
        card: Card,
        accelerator: Accelerator,
        limit_batches: int | None = None,
        findings: Any = None,
    ) -> Figures:
        """Measures a model; with several processes each measures its share.

        Args:
            model: The model, on the accelerator's device.
            batches: As `evaluation_batches` or the validation loader gives them.
            card: What belongs to the model.
            accelerator: Device and processes. Precision is the caller's.
            limit_batches: Stop after so many batches per process.
            findings: Those of the task, which are told what the model says; may be left out of the
                parameters.
        """

    @classmethod
    @abstractmethod
    def preprocessing_kind(cls, fields: dict[str, Any]) -> type:
        """The dataclass of the preprocessing that a card holds.

        Args:
            fields: What the card says; a mark of the kind is taken out.
        """

    @classmethod
    def names_fit(cls, names: int, outputs: int) -> bool:
        """Whether a card with so many names of classes fits a model with so many outputs."""
        return names <= outputs

    @classmethod
    @abstractmethod
    def fields_of_data(cls, card: Card) -> dict[str, Any]:
        """Fields of the data configuration that the card of a model without data tells."""

    @classmethod
    def prepared_for(cls, card: Card) -> Card:
        """The card for its data, where these say something of the preprocessing."""
        return card

    @classmethod
    @abstractmethod
    def evaluation_batches(
        cls, card: Card, batch_size: int, split: Split, rank: int = 0, world_size: int = 1
    ) -> Iterable[Any]:
        """Batches to measure a model on.

        Args:
            card: That of the model; its data are read.
            batch_size: Images per batch and process.
            split: Which images.
            rank: Number of this process.
            world_size: Number of processes.
        """

    @classmethod
    def evaluation_inputs(cls, card: Card, count: int, split: Split) -> Tensor:
        """Normalised inputs, spread evenly over the data of a card.

        Args:
            card: That of the model; its data are read.
            count: Number of inputs; all if there are fewer.
            split: Which images.
        """
        raise UserError(_refused(cls))

    @classmethod
    def training_inputs(cls, card: Card, count: int, batch_size: int) -> Iterable[Tensor]:
        """Normalised training batches of the data of a card, at least `count` inputs if there are.

        Args:
            card: That of the model; its data are read.
            count: Number of inputs.
            batch_size: Images per batch.
        """
        raise UserError(_refused(cls))

    @classmethod
    def predict(cls, folder: Path, files: list[Path], options: PredictionOptions) -> None:
        """Shows what a model sees in files: prints it, writes pictures and a table.

        Args:
            folder: Folder of a run, or its best/ or last/; or a .spk file.
            files: Files, and folders that are searched for them.
            options: What is made of them.
        """
        raise UserError(_refused(cls))

    @classmethod
    def next_steps(cls, run: Path) -> list[tuple[str, str]]:
        """What can be done with a trained run: what each command does, and the command.

        Args:
            run: Its folder.
        """
        return [("Measure it", f"spikesight val {shlex.quote(str(run))}")]

    @classmethod
    def pipeline(
        cls, model: nn.Module, card: Card, labels: Sequence[str] | None, device: torch.device
    ) -> Pipeline:
        """What answers inputs with names; see `spikesight.pipeline`.

        Args:
            model: The model, in evaluation mode and on the device.
            card: What belongs to it.
            labels: Names of the classes; the card's if omitted.
            device: Where the model is.

        Raises:
            UserError: If its models give no such answers.
        """
        raise UserError(_refused(cls))

    @classmethod
    def draw(cls, folder: Path, output: Path, options: ValidationOptions) -> list[Path]:
        """Draws what goes on in a trained model.

        Args:
            folder: Folder of a run, or its best/ or last/.
            output: Folder for the pictures.
            options: What it looks at.

        Returns:
            The pictures.
        """
        raise UserError(f"pictures are for segmenters and {folder} holds {cls.called}")

    @classmethod
    def compare(
        cls, card: Card, split: Split, networks: Mapping[str, Callable[[Tensor], Tensor]]
    ) -> str:
        """How well several forms of a model do on all images, in one line.

        Args:
            card: That of the model; its data are read.
            split: Which images.
            networks: The forms by name.

        Returns:
            The line; empty where the task compares nothing.
        """
        return ""

    @classmethod
    def suits(cls, model: SpikingModel) -> bool:
        """Whether a converted model that says nothing of a task is for this one."""
        return False

    @classmethod
    def describe(cls, said: Description, card: Card | None, arguments: dict[str, Any]) -> Card:
        """The card of a converted model.

        Args:
            said: What a user says of it.
            card: The model's own card, of which only what is said changes.
            arguments: Those that the model was built with.

        Raises:
            UserError: If what is said does not fit the model, or does not suffice.
        """
        raise UserError(f"classes and preprocessing cannot be said of {cls.called}")


def take(batches: Iterable[Tensor], count: int) -> list[Tensor]:
    """The first batches that hold so many inputs, or all.

    Args:
        batches: Inputs [B, ...].
        count: Number of inputs.
    """
    taken: list[Tensor] = []
    for batch in batches:
        taken.append(batch)
        if sum(map(len, taken)) >= count:
            break
    return taken


def _refused(task: type[Task]) -> str:
    return f"the model is {task.called}, of which this has nothing to show; pass another run"
