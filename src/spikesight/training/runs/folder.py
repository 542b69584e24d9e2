"""Folders of runs and of trained models, and models in whatever form they are given."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from spikesight.deployment.export.exporting import EXPORT_ENDINGS
from spikesight.deployment.export.reading import RUNNABLE_ENDINGS
from spikesight.errors import UserError
from spikesight.files.calibration import CALIBRATION
from spikesight.files.names import show
from spikesight.files.shipped import nearest, weights_names
from spikesight.models import SpikingModel
from spikesight.pretrained import RecipeFile, find_model, read_recipe
from spikesight.training.runs.card import CARD, Card, says_how
from spikesight.training.runs.storage import replaced_folder

_MODEL_FILES = frozenset({"config.json", "model.safetensors"})
_BESIDE_A_CONVERSION = frozenset({"config.yaml", "conversion.txt", "thresholds.csv"})


_FILES = (".spk", *RUNNABLE_ENDINGS)


def resolve_model(path: Path) -> Path:
    """A .spk file or a runnable export itself, or the folder with a run's weights.

    Raises:
        FileNotFoundError: If there is no model.
        UserError: If it is an export that nothing runs here.
    """
    if path.suffix in _FILES and not path.exists():
        raise FileNotFoundError(f"there is no file {show(path)}; correct the path")
    if path.suffix in EXPORT_ENDINGS and path.suffix not in _FILES and path.is_file():
        raise UserError(
            f"{show(path)} has no runtime here; pass the .spk file that it was written from, or an "
            f"export ending in {' or '.join(RUNNABLE_ENDINGS)}"
        )
    return path if path.is_file() and path.suffix in _FILES else resolve_model_folder(path)


def card_of(path: Path, run: Path | None = None) -> Path:
    """Where the card of a model is, which says how its inputs are prepared.

    Args:
        path: A .spk, .onnx or .xml file, or the folder of a model or a run.
        run: A run whose card is taken instead.

    Returns:
        Such a file, or a folder with run.json.

    Raises:
        FileNotFoundError: If there is no model.
        UserError: If the model has no card.
    """
    place = resolve_model(path if run is None else run)
    if place.is_file():
        if not says_how(place):
            raise UserError(
                f"{show(place)} holds no images and does not say how they are prepared; pass "
                "--run=FOLDER with the run that it was made from"
            )
    elif not (place / CARD).is_file():
        raise FileNotFoundError(
            f"{show(place)} has no {CARD}, which says how images are prepared; pass --run=FOLDER "
            "with the run that it was made from, or write one by spikesight convert "
            f"{show(place)} OUTPUT --classes=names.txt --image_size=PIXELS"
        )
    return place


def load_any(path: Path) -> nn.Module:
    """The model in a .spk, .onnx or .xml file or a folder, in evaluation mode, with real outputs.

    Raises:
        FileNotFoundError: If there is no model.
        UserError: If it is damaged.
    """
    from spikesight.deployment.deployed_model import DeployedModel
    from spikesight.deployment.network import Deployed
    from spikesight.pretrained import load

    place = resolve_model(path)
    if place.is_file() and place.suffix in RUNNABLE_ENDINGS:
        from spikesight.deployment.exported_model import ExportedModel

        return ExportedModel(place)
    return DeployedModel(Deployed.load(place)) if place.is_file() else load(place)


def resolve_model_folder(folder: str | Path) -> Path:
    """The folder with the weights: `folder` itself, or best/ or last/ of a run.

    Args:
        folder: Folder of a model or of a run, the name of a model that comes along, or a hub id.

    Raises:
        FileNotFoundError: If there are no weights in any of them; says which names are near.
        UserError: If what came from the hub is damaged.
    """
    folder = find_model(folder)
    for candidate in (folder, folder / "best", folder / "last"):
        if (candidate / "model.safetensors").is_file():
            return candidate
    is_name = not folder.exists() and folder.parent.as_posix() in (".", "weights")
    near = nearest(folder, weights_names()) if is_name else []
    such_as = f": {' or '.join(near)}" if near else ""
    raise FileNotFoundError(
        f"there is no trained model in {show(folder)}; pass the folder of a run or its best/ or "
        f"last/, or the name of a model that comes along{such_as}"
    )


def saved_recipe(folder: Path, beside: frozenset[str] = frozenset()) -> RecipeFile | None:
    """What config.json says of a folder that holds a saved model and nothing else.

    Args:
        folder: The folder.
        beside: Names of files that may lie beside the model.

    Returns:
        The recipe; None of any other folder.
    """
    names = {path.name for path in folder.iterdir()}
    if not _MODEL_FILES <= names <= _MODEL_FILES | {CARD, CALIBRATION} | beside:
        return None
    try:
        return read_recipe(folder)
    except (OSError, UserError):
        return None


def check_model_output(
    output: Path, source: Path, *, to_train_on: bool = False, from_twin: bool = False
) -> None:
    """Refuses to write a model where anything but an earlier output would be lost.

    Args:
        output: The folder to write.
        source: Folder or file that the model is read from.
        to_train_on: Whether the outputs are quantised models that are not packed.
        from_twin: Whether they are twins made spiking, with what lies beside these.

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
    recipe = saved_recipe(output, _BESIDE_A_CONVERSION if from_twin else frozenset())
    if recipe is None or (to_train_on and (recipe.quantization is None or recipe.packed)):
        kind = "an earlier quantised model to train on" if to_train_on else "an earlier model"
        raise UserError(
            f"output {output} holds something else than {kind}; pass another output, or move it "
            "away"
        )


def save_model(folder: Path, model: SpikingModel, card: Card) -> None:
    """Replaces a folder by one that `spikesight.load` reads."""
    with replaced_folder(folder) as new:
        model.save_pretrained(new)
        card.write(new)
