"""Folders of runs and of trained models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, get_args

from spikesight.errors import UserError
from spikesight.files.documents import parse_json, read_json, shortened
from spikesight.files.tensors import COPY_AGAIN
from spikesight.models import SpikingModel
from spikesight.pretrained import RecipeFile, read_recipe
from spikesight.training.config import TaskName
from spikesight.training.runs.storage import replaced_folder

CARD = "run.json"
_MODEL_FILES = frozenset({"config.json", "model.safetensors"})


class CardLike(Protocol):
    """What belongs to a trained model besides its weights."""

    def write(self, folder: Path) -> None:
        """Writes run.json."""
        ...

    def text(self) -> str:
        """The content of run.json."""
        ...


def read_card(folder: Path) -> dict[str, Any]:
    """The content of run.json.

    Args:
        folder: Folder of a model, or a .spk file that holds its card.

    Raises:
        FileNotFoundError: If the folder has none.
        UserError: If it is damaged.
    """
    if folder.is_file():
        from spikesight.deployment.spk.file import read_spk_card

        text = read_spk_card(folder)
        if text is not None:
            return parse_json(text, dict[str, Any], str(folder), remedy=COPY_AGAIN)
        raise UserError(f"{folder} holds no card; pass --run=FOLDER")
    path = folder / CARD
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no {CARD}; pass a folder that training wrote, such as run/best"
        )
    return read_json(path, dict[str, Any], remedy=COPY_AGAIN)


def card_name(folder: Path) -> str:
    """What messages call the card of a model."""
    return str(folder if folder.is_file() else folder / CARD)


def check_card_fits(
    folder: Path, classes: int, channels: int, *, every_output: bool = False
) -> None:
    """Refuses a card of another model than the one beside it.

    Args:
        folder: Folder of a model.
        classes: Number of classes that the card names.
        channels: Channels of the images that it prepares.
        every_output: Whether each output of the model must have a name.

    Raises:
        UserError: If config.json describes a model of other classes or channels.
    """
    if not (folder / "config.json").is_file():
        return
    arguments = read_recipe(folder).arguments
    outputs, inputs = arguments.get("num_classes"), arguments.get("in_channels")
    problem = ""
    if isinstance(inputs, int) and inputs != channels:
        problem = f"prepares {channels} channels and the model of config.json takes {inputs}"
    elif isinstance(outputs, int) and (classes > outputs or (every_output and classes != outputs)):
        problem = f"names {classes} classes and the model of config.json has {outputs}"
    if problem:
        raise UserError(f"{folder / CARD}: preprocessing: {problem}; {COPY_AGAIN}")


def saved_task(folder: Path) -> TaskName:
    """The task that a model was trained for.

    Args:
        folder: Folder of a model.

    Raises:
        FileNotFoundError: If the folder has no run.json.
        UserError: If it is damaged.
    """
    task: TaskName = read_card(folder).get("task", "classification")
    if task not in get_args(TaskName):
        raise UserError(
            f"{card_name(folder)}: task: {shortened(repr(task))} is none of "
            f"{', '.join(get_args(TaskName))}; {COPY_AGAIN}"
        )
    return task


def describe_task(task: TaskName) -> str:
    """What a model trained for a task is, for messages."""
    if task == "masked_image":
        return "a pre-trained trunk, to be fine-tuned first (spikesight train ... --from RUN),"
    return "a classifier" if task == "classification" else "a segmenter"


def resolve_model_folder(folder: str | Path) -> Path:
    """The folder with the weights: `folder` itself, or best/ or last/ of a run.

    Args:
        folder: Folder of a model or of a run.

    Raises:
        FileNotFoundError: If there are no weights in any of them.
    """
    folder = Path(folder)
    for candidate in (folder, folder / "best", folder / "last"):
        if (candidate / "model.safetensors").is_file():
            return candidate
    raise FileNotFoundError(
        f"there is no trained model in {folder}; pass the folder of a run or its best/ or last/"
    )


def saved_recipe(folder: Path) -> RecipeFile | None:
    """What config.json says of a folder that holds a saved model and nothing else.

    Args:
        folder: An existing folder.

    Returns:
        The recipe; None of any other folder.
    """
    names = {path.name for path in folder.iterdir()}
    if not _MODEL_FILES <= names <= _MODEL_FILES | {CARD}:
        return None
    try:
        return read_recipe(folder)
    except (OSError, UserError):
        return None


def check_model_output(output: Path, source: Path, *, to_train_on: bool = False) -> None:
    """Refuses to write a model where anything but an earlier output would be lost.

    Args:
        output: The folder to write.
        source: Folder or file that the model is read from.
        to_train_on: Whether the outputs are quantised models that are not packed.

    Raises:
        ValueError: If `output` is a file, the source, the model of a run, or holds something else
            than an earlier output.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError(f"output {output} is a file; pass a folder")
    if source.exists() and output.samefile(source):
        raise UserError(f"output {output} is what is read; pass another output")
    place = output.resolve()
    if place.name == "best" and (place.parent / "config.yaml").is_file():
        raise UserError(f"output {output} is the model of a run; pass a folder outside of the run")
    if not any(output.iterdir()):
        return
    recipe = saved_recipe(output)
    if recipe is None or (to_train_on and (recipe.quantization is None or recipe.packed)):
        kind = "an earlier quantised model to train on" if to_train_on else "an earlier model"
        raise UserError(
            f"output {output} holds something else than {kind}; pass another output, or move it "
            "away"
        )


def save_model(folder: Path, model: SpikingModel, card: CardLike) -> None:
    """Replaces a folder by one that `spikesight.load` reads.

    Args:
        folder: best/ of a run.
        model: What to save.
        card: What belongs to it.
    """
    with replaced_folder(folder) as new:
        model.save_pretrained(new)
        card.write(new)
