"""What a converted model needs besides its weights: how photos are prepared, names of classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from spikesight.errors import UserError
from spikesight.files.documents import check
from spikesight.files.names import show
from spikesight.files.opening import read_text
from spikesight.models import SpikingModel
from spikesight.training.runs.card import Card
from spikesight.training.tasks.table import tasks_that_say

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

    def changes(self, *names: str) -> dict[str, Any]:
        """What is said of some of the attributes."""
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


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


def describe(model: SpikingModel, said: Description, card: Card | None = None) -> Card | None:
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
    arguments = model.recipe["arguments"]
    if said.classes is not None and len(said.classes) != arguments["num_classes"]:
        raise UserError(
            f"classes has {len(said.classes)} names but the model {arguments['num_classes']} "
            "classes; pass one name per class, in the order of the logits"
        )
    tasks = tasks_that_say("suits")
    task = card.kind if card is not None else next(task for task in tasks if task.suits(model))
    return task.describe(said, card, arguments)


def checked(steps: StepsT) -> StepsT:
    """The same preprocessing, its fields within their ranges."""
    plain = asdict(steps)  # type: ignore[call-overload]
    return check(plain, type(steps), "")
