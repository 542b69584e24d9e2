"""Where a run's first weights come from."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from spikesight.models import SpikingModel, StageFeatures
from spikesight.training.run_folder import resolve_model_folder

_TRUNK = "trunk."


def start_from(model: SpikingModel, source: str | Path) -> list[str]:
    """Copies the weights of a saved model into a fresh one.

    A model of the same kind gives all its weights; parts that count classes stay fresh where the
    number of classes differs. A segmenter also starts from a classifier's run, which gives its
    trunk.

    Args:
        model: Where they go.
        source: Folder of a run, or its best/ or last/.

    Returns:
        What stayed fresh, as sentences; empty if nothing did.

    Raises:
        FileNotFoundError: If there are no weights.
        ValueError: If they do not fit.
    """
    folder = resolve_model_folder(source)
    tensors = load_file(folder / "model.safetensors")
    trunk = getattr(model, "trunk", None)
    if isinstance(trunk, StageFeatures) and not any(
        name.startswith(_TRUNK + _TRUNK) for name in tensors
    ):
        _fill_trunk(trunk, tensors, folder)
        return [f"the trunk starts from {folder}, all else is fresh"]
    fresh = _fill(model, tensors, folder)
    return [f"fresh classifier, its size differs from the saved one: {fresh}"] if fresh else []


def _fill(model: SpikingModel, tensors: dict[str, Tensor], folder: Path) -> list[str]:
    own = model.state_dict()
    fresh = [
        name
        for name, tensor in own.items()
        if name in tensors and _other_classes(tensor, tensors[name], model)
    ]
    try:
        model.load_state_dict({**tensors, **{name: own[name] for name in fresh}})
    except RuntimeError as error:
        raise ValueError(
            f"model.weights={folder} does not fit the model: {error}; pass the sizes that it was "
            "trained with"
        ) from error
    return fresh


def _other_classes(own: Tensor, saved: Tensor, model: SpikingModel) -> bool:
    """Whether two tensors differ in nothing but a first dimension that counts classes."""
    if own.shape == saved.shape or own.shape[1:] != saved.shape[1:]:
        return False
    classes = model.recipe["arguments"]["num_classes"]
    return own.shape[0] in (classes, classes + 1)


def _fill_trunk(trunk: StageFeatures, tensors: dict[str, Tensor], folder: Path) -> None:
    part = {
        name.removeprefix(_TRUNK): tensor
        for name, tensor in tensors.items()
        if name.startswith(_TRUNK)
    }
    wanted = trunk.trunk.state_dict()
    missing = sorted(wanted.keys() - part.keys())
    different = sorted(
        name for name in wanted.keys() & part.keys() if wanted[name].shape != part[name].shape
    )
    if missing or different:
        name = (missing + different)[0]
        raise ValueError(
            f"model.weights={folder} does not fit the trunk: {_TRUNK}{name} "
            f"{'is missing' if missing else 'has another shape'}; pass the run of a classifier "
            "with the same trunk and sizes"
        )
    trunk.trunk.load_state_dict({name: part[name] for name in wanted})
