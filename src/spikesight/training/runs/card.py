"""What belongs to a trained model besides its weights: run.json."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from spikesight.data.shards.patterns import holds_shards
from spikesight.deployment.description import NETWORK
from spikesight.deployment.export.reading import RUNNABLE_ENDINGS, read_export_card
from spikesight.deployment.spk.file import read_spk_card
from spikesight.errors import UserError
from spikesight.files.documents import check, parse_json, read_json
from spikesight.files.names import show
from spikesight.files.ranges import Licence
from spikesight.files.tensors import COPY_AGAIN
from spikesight.lazy_names import TYPE_CHECKING
from spikesight.parts import Part, check_parts, describe_parts
from spikesight.pretrained import read_recipe
from spikesight.training.config import TrainConfig, from_mapping, override
from spikesight.training.data_sections import DATA_SECTIONS
from spikesight.training.runs.input_words import input_words
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.table import find_task

if TYPE_CHECKING:
    from spikesight.training.tasks.base import Task

CARD = "run.json"
INPUT = "input"
"""The section that says in words what `preprocessing` does; nothing reads it here."""


@dataclass(frozen=True)
class Card:
    """What belongs to a trained model besides its weights.

    Attributes:
        data: What it was trained on, such as a `DataConfig`, `SceneConfig` or `ObjectConfig`; None
            if that is not known here.
        preprocessing: What turns a file into its input, and the names of its classes: a
            `Preprocessing`, `EventPreprocessing`, `ScenePreprocessing` or `ObjectPreprocessing`.
        epoch: Number of epochs it was trained for, the begun one not counted.
        weights: "model", or "ema" for the moving average.
        metrics: Its validation figures, if it was validated.
        task: What it was trained for.
        precision: The autocast type it was trained in; None where older versions did not say.
        view: How photos were shown to a segmenter in validation, or what was kept of a detector's
            boxes.
        licence: That of the weights, such as an SPDX identifier; None if it is not known.
    """

    data: Any
    preprocessing: Any
    epoch: int
    weights: str
    metrics: Figures | None
    task: str = "classification"
    precision: str | None = None
    view: Any = None
    licence: str | None = None

    @property
    def kind(self) -> type[Task]:
        """The task itself."""
        return find_task(self.task)

    def write(self, folder: Path) -> None:
        """Writes run.json."""
        (folder / CARD).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The content of run.json."""
        view = {} if self.view is None else {"view": asdict(self.view)}
        content = {
            "task": self.task,
            self.kind.section: None if self.data is None else asdict(self.data),
            **view,
            "preprocessing": self.preprocessing.to_dict(),
            INPUT: input_words(self.preprocessing),
            "epoch": self.epoch,
            "weights": self.weights,
            "metrics": None if self.metrics is None else dict(vars(self.metrics)),
            "precision": self.precision,
            "licence": self.licence,
        }
        own_set = DATA_SECTIONS[self.kind.section].own_set
        form = None if self.data is None else self.data.format
        if own := describe_parts([("task", self.task), (own_set, form)]):
            content["parts"] = own
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def read(cls, folder: Path, task: str | None = None) -> Card:
        """Reads run.json.

        Args:
            folder: Folder of a model, or a .spk, .onnx or .xml file that holds its card.
            task: What the model must have been trained for, or a task derived from it; anything if
                omitted.

        Raises:
            FileNotFoundError: If the folder has none.
            UserError: If it is damaged or of another task.
        """
        name = str(folder if folder.is_file() else folder / CARD)
        card = cls.parse(_read(folder), name, task, str(folder))
        _check_fits(folder, card.preprocessing, card.kind)
        return card

    @classmethod
    def parse(
        cls, content: Mapping[str, Any], name: str, task: str | None = None, model: str = "it"
    ) -> Card:
        """A card of what run.json says.

        Args:
            content: What it says.
            name: What messages call it.
            task: What the model must have been trained for, or a task derived from it; anything if
                omitted.
            model: What messages call the model.

        Raises:
            UserError: If it is damaged or of another task.
        """
        content = {"task": "classification", **copy.deepcopy(dict(content))}
        for said_to_others in (INPUT, NETWORK):
            content.pop(said_to_others, None)
        parts = check(content.pop("parts", []), list[Part], f"{name}: parts", remedy=COPY_AGAIN)
        check_parts(Path(name), parts)
        kind = find_task(content["task"], f"{name}: task", COPY_AGAIN)
        if task is not None and not issubclass(kind, find_task(task)):
            raise UserError(
                f"{model} holds {kind.called} where {find_task(task).called} belongs; pass the "
                "run of one"
            )
        steps = content.get("preprocessing")
        kinds = kind.preprocessing_kind(steps if isinstance(steps, dict) else {})
        card = check(content, _file_of(kind, kinds), name, remedy=COPY_AGAIN)
        values = {field: getattr(card, field) for field in card.__struct_fields__}
        values["data"] = values.pop(kind.section)
        return cls(**values)

    def licensed(self, licence: str | None) -> Card:
        """The card with another licence; its own if None.

        Raises:
            UserError: If it is empty or too long to be one.
        """
        if licence is None:
            return self
        return replace(self, licence=check(licence, Licence, "licence"))

    @property
    def data_is_here(self) -> bool:
        """Whether the data that the model was trained on can be found again."""
        if self.data is None:
            return False
        path = self.data.path
        return not path or Path(path).exists() or holds_shards(path)

    def with_data(
        self, changes: Mapping[str, Any] | None = None, instead: tuple[str, str] = ("", "")
    ) -> Card:
        """The card for data with some fields changed, which are there.

        Args:
            changes: New values, as YAML or a command line gives them.
            instead: What else can be passed where the card knows no data, and where these are
                gone, for the message.

        Raises:
            UserError: If a field is unknown or a value invalid, or there are no data.
        """
        others = {"path", "format"} & (changes or {}).keys()
        if self.data is None and not others:
            raise UserError(
                "the model does not say where images are (a .spk file and a converted model do "
                "not); pass --run=FOLDER with the run that it was made from, or "
                + (instead[0] or self.kind.data_option)
            )
        if self.data is None:
            kind = get_type_hints(TrainConfig)[self.kind.section]
            data = from_mapping(kind, {**self.kind.fields_of_data(self), **(changes or {})})
        elif not others and not self.data_is_here:
            raise UserError(
                f"the model's data, {show(self.data.path)}, are not here; pass --data.path=… with "
                f"them{instead[1]}"
            )
        else:
            data = override(self.data, changes or {})
        return self.kind.prepared_for(replace(self, data=data))

    def seen(self, changes: Mapping[str, Any] | None) -> Any:
        """How photos are shown or what is kept of boxes, with some fields changed.

        Args:
            changes: New values, as YAML or a command line gives them.

        Raises:
            UserError: If a field is unknown or a value invalid, or photos are shown in one way.
        """
        if changes is None:
            return self.view
        if self.view is None:
            raise UserError(
                f"view is for segmenters and detectors, and the model is {self.kind.called}; leave "
                "it out"
            )
        return override(self.view, changes)


def _file_of(task: type[Task], preprocessing: type) -> Any:
    """What run.json holds, as a type; who writes one by hand may leave out what training knew."""
    data = get_type_hints(TrainConfig)[task.section]
    fields: list[Any] = [
        ("task", str),
        (task.section, data | None, None),
        *([("view", task.view_kind)] if task.view_kind is not None else []),
        ("preprocessing", preprocessing),
        ("epoch", Annotated[int, msgspec.Meta(ge=0)], 0),
        ("weights", Literal["model", "ema"], "model"),
        ("metrics", task.figures | None, None),
        ("precision", Literal["no", "bf16", "fp16"] | None, None),
        ("licence", Licence | None, None),
    ]
    return msgspec.defstruct("CardFile", fields, kw_only=True, forbid_unknown_fields=True)


def says_how(file: Path) -> bool:
    """Whether a .spk, .onnx or .xml file holds a card that says how inputs are prepared.

    Raises:
        UserError: If it is damaged.
    """
    content = _in_file(file)
    return content is not None and content.keys() != {NETWORK}


def _in_file(file: Path) -> dict[str, Any] | None:
    text = read_export_card(file) if file.suffix in RUNNABLE_ENDINGS else read_spk_card(file)
    if text is None:
        return None
    return parse_json(text, dict[str, Any], str(file), remedy=COPY_AGAIN)


def _read(folder: Path) -> dict[str, Any]:
    if folder.is_file():
        content = _in_file(folder)
        if content is not None:
            return content
        raise UserError(f"{folder} holds no card; pass --run=FOLDER")
    path = folder / CARD
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no {CARD}; pass a folder that training wrote, such as run/best"
        )
    return read_json(path, dict[str, Any], remedy=COPY_AGAIN)


def _check_fits(folder: Path, preprocessing: Any, task: type[Task]) -> None:
    """Refuses a card of another model than the one of config.json beside it."""
    if not (folder / "config.json").is_file():
        return
    arguments = read_recipe(folder).arguments
    outputs, inputs = arguments.get("num_classes"), arguments.get("in_channels")
    classes, channels = len(preprocessing.classes), preprocessing.channels
    problem = ""
    if isinstance(inputs, int) and inputs != channels:
        problem = f"prepares {channels} channels and the model of config.json takes {inputs}"
    elif isinstance(outputs, int) and not task.names_fit(classes, outputs):
        problem = f"names {classes} classes and the model of config.json has {outputs}"
    if problem:
        raise UserError(f"{folder / CARD}: preprocessing: {problem}; {COPY_AGAIN}")
