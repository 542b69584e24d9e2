"""Where a run's first weights come from."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.files.tensors import read_tensors
from spikesight.models import MaskedAutoencoder, SpikingModel, StageFeatures
from spikesight.models.base import Quantization
from spikesight.pretrained import RecipeFile, check_fits, read_recipe
from spikesight.training.config import ModelConfig
from spikesight.training.runs.folder import resolve_model_folder

_TRUNK = "trunk."
_WEIGHTS = "model.safetensors"


def start_from(model: SpikingModel, source: str | Path) -> list[str]:
    """Copies the weights of a saved model into a fresh one.

    A model of the same kind gives all its weights; parts that count classes stay fresh where the
    number of classes differs. A segmenter also takes the trunk of a classifier's run, or of a
    segmenter of another kind. Masked-image pre-training gives its trunk to whatever has such a
    one, and takes a classifier's.

    Args:
        model: Where they go.
        source: Folder of a run, or its best/ or last/.

    Returns:
        What stayed fresh, as sentences; empty if nothing did.

    Raises:
        FileNotFoundError: If there are no weights.
        ValueError: If they are damaged or do not fit.
    """
    folder = resolve_model_folder(source)
    tensors, described = read_tensors(folder / _WEIGHTS), _described(folder)
    trunk = getattr(model, "trunk", None)
    if isinstance(trunk, StageFeatures):
        nested = {
            name.removeprefix(_TRUNK): tensor
            for name, tensor in tensors.items()
            if name.startswith(_TRUNK + _TRUNK)
        }
        trunk_alone = not nested or described is None or described.name != model.recipe["name"]
        tensors = nested if nested and trunk_alone else tensors
    else:
        trunk_alone = False
    pre_trained = described is not None and described.masked_image is not None
    trunk_alone |= pre_trained != isinstance(model, MaskedAutoencoder)
    if trunk_alone:
        assert isinstance(trunk, nn.Module)
        _fill_trunk(trunk.trunk if isinstance(trunk, StageFeatures) else trunk, tensors, folder)
        return [f"the trunk starts from {folder}, all else is fresh"]
    fresh = _fill(model, tensors, folder)
    return [f"fresh classifier, its size differs from the saved one: {fresh}"] if fresh else []


def saved_quantization(wanted: ModelConfig) -> Quantization | None:
    """How the model to start from is quantised; None if it is not.

    Raises:
        FileNotFoundError: If there are no weights.
        ValueError: If they are packed, or quantised otherwise than the model to build.
    """
    assert wanted.weights is not None
    folder = resolve_model_folder(wanted.weights)
    described = _described(folder)
    if described is not None and described.packed:
        raise UserError(
            f"model.weights={folder} holds packed weights, which cannot be trained on; pass the "
            "folder of the run that they were packed from"
        )
    saved = None if described is None else described.quantization
    if saved is not None:
        known = {name: saved.get(name, False) for name in ("bits", "recipe", "power_of_two")}
        if known != {name: getattr(wanted, name) for name in known}:
            options = " ".join(f"model.{name}={value}" for name, value in known.items())
            raise UserError(
                f"model.weights={wanted.weights} is quantised otherwise than asked for; pass "
                f"{options}, or the folder of the unquantised model"
            )
    return saved


def _described(folder: Path) -> RecipeFile | None:
    return read_recipe(folder) if (folder / "config.json").is_file() else None


def _fill(model: SpikingModel, tensors: dict[str, Tensor], folder: Path) -> list[str]:
    own = model.state_dict()
    fresh = [
        name
        for name, tensor in own.items()
        if name in tensors and _other_classes(tensor, tensors[name], model)
    ]
    kept = {**tensors, **{name: own[name] for name in fresh}}
    remedy = "pass the sizes that it was trained with, or another model.weights"
    check_fits(folder / _WEIGHTS, kept, own, "the model", remedy)
    model.load_state_dict(kept)
    return fresh


def _other_classes(own: Tensor, saved: Tensor, model: SpikingModel) -> bool:
    """Whether two tensors differ in nothing but a first dimension that counts classes."""
    if own.shape == saved.shape or own.shape[1:] != saved.shape[1:]:
        return False
    classes = model.recipe["arguments"]["num_classes"]
    return own.shape[0] in (classes, classes + 1)


def _fill_trunk(trunk: nn.Module, tensors: dict[str, Tensor], folder: Path) -> None:
    part = {
        name.removeprefix(_TRUNK): tensor
        for name, tensor in tensors.items()
        if name.startswith(_TRUNK)
    }
    wanted = trunk.state_dict()
    missing = sorted(wanted.keys() - part.keys())
    different = sorted(
        name for name in wanted.keys() & part.keys() if wanted[name].shape != part[name].shape
    )
    if missing or different:
        name = (missing + different)[0]
        raise UserError(
            f"model.weights={folder} does not fit the trunk: {_TRUNK}{name} "
            f"{'is missing' if missing else 'has another shape'}; pass the run of a model "
            "with the same trunk and sizes"
        )
    kept = {name: part[name] for name in wanted}
    check_fits(folder / _WEIGHTS, kept, wanted, "the trunk", "pass another model.weights")
    trunk.load_state_dict(kept)
