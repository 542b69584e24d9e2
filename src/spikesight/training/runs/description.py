"""What a converted model needs besides its weights: how photos are prepared, names of classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from spikesight.data import Preprocessing
from spikesight.data.loaders import (
    IMAGENET_GREY_MEAN,
    IMAGENET_GREY_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
)
from spikesight.data.segmentation import ClassTable, ScenePreprocessing
from spikesight.data.segmentation.scene import table_of
from spikesight.errors import UserError
from spikesight.files.documents import check
from spikesight.files.names import show
from spikesight.files.opening import read_text
from spikesight.inference import ViewConfig
from spikesight.models import SpikingModel
from spikesight.models.spike2former.model import Spike2Former
from spikesight.models.spike_fpn import SpikeFPN
from spikesight.training.runs.checkpoint import Card
from spikesight.training.runs.scene_card import SceneCard

StepsT = TypeVar("StepsT")


@dataclass(frozen=True)
class Description:
    """What a user says of a model; None where nothing is said.

    Attributes:
        classes: Names of the classes, in the order of the logits.
        things: Which of a segmenter's classes are objects; with them it is panoptic.
        mean: Mean per channel of photos in 0..1.
        std: Standard deviation per channel of photos in 0..1.
        image_size: Height and width that the model sees.
        crop_fraction: Share of the shorter side that a classifier sees.
    """

    classes: tuple[str, ...] | None = None
    things: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: tuple[int, int] | None = None
    crop_fraction: float | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is said."""
        return all(value is None for value in vars(self).values())


def read_classes(given: list[str] | Path) -> tuple[str, ...]:
    """Names of classes.

    Args:
        given: The names; or a text file with one per line.

    Raises:
        UserError: If there is no such file, or a name is empty or there twice.
    """
    if isinstance(given, Path) and not given.exists() and "," in str(given):
        # A list whose names YAML would take for other things, such as no and 1.
        listed = str(given).removeprefix("[").removesuffix("]")
        given = [name.strip().strip("\"'") for name in listed.split(",")]
    if isinstance(given, Path):
        if not given.exists():
            raise UserError(
                f"classes: there is no file {show(given)}; pass a text file with one name per "
                "line, or --classes=[cat,dog]"
            )
        names = tuple(line.strip() for line in read_text(given).strip().split("\n"))
    else:
        names = tuple(given)
    where = f"classes in {show(given)}" if isinstance(given, Path) else "classes"
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise UserError(f"{where}: name {number} is empty; give every class one")
        if name in names[: number - 1]:
            raise UserError(f"{where}: {show(name)!r} is there twice; rename one")
    return names


def describe(
    model: SpikingModel, said: Description, card: Card | SceneCard | None = None
) -> Card | SceneCard | None:
    """The card of a converted model.

    Args:
        model: The model.
        said: What a user says of it.
        card: The model's own card, of which only what is said changes.

    Returns:
        The card; None if there was none and nothing is said.

    Raises:
        UserError: If what is said does not fit the model, or does not suffice.
    """
    if said.empty:
        return card
    segments = isinstance(model, Spike2Former | SpikeFPN)
    arguments = model.recipe["arguments"]
    if said.classes is not None and len(said.classes) != arguments["num_classes"]:
        raise UserError(
            f"classes has {len(said.classes)} names but the model {arguments['num_classes']} "
            "classes; pass one name per class, in the order of the logits"
        )
    if segments:
        if said.crop_fraction is not None:
            raise UserError("crop_fraction is for classifiers; leave it out")
        return _segmenter(said, card if isinstance(card, SceneCard) else None, arguments)
    if said.things is not None:
        raise UserError("things is for segmenters and the model is a classifier; leave it out")
    return _classifier(said, card if isinstance(card, Card) else None, arguments)


def _classifier(said: Description, card: Card | None, arguments: dict[str, Any]) -> Card:
    changes: dict[str, Any] = {}
    if said.image_size is not None:
        if said.image_size[0] != said.image_size[1]:
            raise UserError(f"image_size is {said.image_size}; pass one number for a classifier")
        changes["image_size"] = said.image_size[0]
    for name in ("classes", "mean", "std", "crop_fraction"):
        if getattr(said, name) is not None:
            changes[name] = getattr(said, name)
    if card is not None:
        if not isinstance(card.preprocessing, Preprocessing) and changes.keys() - {"classes"}:
            raise UserError(
                "the model learned from events, which have no mean, std, image_size and "
                "crop_fraction; pass classes alone"
            )
        return replace(card, preprocessing=_checked(replace(card.preprocessing, **changes)))
    channels = arguments["in_channels"]
    if "image_size" not in changes:
        raise UserError("image_size is missing; pass --image_size=224, or what the authors used")
    if channels not in (1, 3):
        raise UserError(
            f"the model takes {channels} channels, so it is none of photos; leave out classes, "
            "mean, std and image_size, and pass frames to ss.load(...) instead"
        )
    grey = channels == 1
    normal: dict[str, Any] = {
        "mean": IMAGENET_GREY_MEAN if grey else IMAGENET_MEAN,
        "std": IMAGENET_GREY_STD if grey else IMAGENET_STD,
    }
    fields = {"channels": channels, **normal, **changes}
    preprocessing = _checked(Preprocessing(**fields))
    return Card(None, preprocessing, 0, "model", None)


def _checked(steps: StepsT) -> StepsT:
    """The same, its fields within their ranges."""
    plain = asdict(steps)  # type: ignore[call-overload]
    return check(plain, type(steps), "")


def _segmenter(said: Description, card: SceneCard | None, arguments: dict[str, Any]) -> SceneCard:
    changes: dict[str, Any] = {
        field: value
        for field, value in (
            ("mean", said.mean),
            ("std", said.std),
            ("crop_size", said.image_size),
        )
        if value is not None
    }
    if card is None and said.image_size is None:
        raise UserError("image_size is missing; pass that of the training's crops: [512,512]")
    if card is None and said.classes is None:
        raise UserError("classes is missing; pass a text file with one name per line")
    old = None if card is None else card.preprocessing
    table: ClassTable
    if old is None:
        assert said.classes is not None
        table = table_of(said.classes)
    else:
        table = old.table if said.classes is None else replace(old.table, names=said.classes)
    if said.things is not None:
        unknown = [name for name in said.things if name not in table.names]
        if unknown:
            raise UserError(f"things: {show(unknown[0])!r} is none of the classes; correct it")
        things = tuple(n for n, name in enumerate(table.names) if name in said.things)
        table = replace(table, things=things)
    if card is not None:
        task = card.task if said.things is None else "panoptic"
        assert old is not None
        steps = _checked(replace(old, table=table, **changes))
        return replace(card, task=task, preprocessing=steps)
    fields = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "evaluation_size": None, **changes}
    preprocessing = _checked(ScenePreprocessing(table=table, **fields))
    task = "semantic" if said.things is None else "panoptic"
    return SceneCard(task, None, preprocessing, 0, "model", None, ViewConfig())
