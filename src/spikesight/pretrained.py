"""Saved models, from a folder, of those that come along, or from a hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from spikesight.errors import FileError, UserError
from spikesight.files.calibration import read_measured
from spikesight.files.documents import read_json
from spikesight.files.hub import download_model, is_hub_id
from spikesight.files.shipped import find_weights
from spikesight.files.tensors import COPY_AGAIN, read_shapes, read_tensors
from spikesight.models.base import Quantization, SpikingModel
from spikesight.models.masked_image import MaskedAutoencoder, MaskedImageSizes
from spikesight.models.measured_inputs import MeasuredInputs, digest_model
from spikesight.parts import Part, check_parts
from spikesight.passes.quantization import quantize_like
from spikesight.registry import create_model, is_registered
from spikesight.synapses import pack_synapses
from spikesight.synapses.packed_synapse import unpacked_tensors

# Packed weights have 2 bits or more, and a folded kernel fewer numbers than its factors.
_MOST_NUMBERS_PER_BYTE = 8
_LAYERS = ("depth", "depths", "encoder_layers", "decoder_layers")


class RecipeFile(msgspec.Struct, forbid_unknown_fields=True):
    """What config.json of a saved model holds; see `spikesight.models.Recipe`."""

    name: str
    arguments: dict[str, Any]
    quantization: Quantization | None = None
    packed: bool = False
    masked_image: MaskedImageSizes | None = None
    parts: list[Part] = []


def read_recipe(folder: Path) -> RecipeFile:
    """Reads config.json of a saved model.

    Args:
        folder: Where it lies.

    Raises:
        FileNotFoundError: If there is none.
        UserError: If it is damaged.
    """
    return read_json(folder / "config.json", RecipeFile, remedy=COPY_AGAIN)


def find_model(source: str | Path) -> Path:
    """The folder that is meant by a path, by a name or by a hub id, in this order.

    Args:
        source: A folder; the name of a model that comes along, such as "bccd_nano_4bit"; or
            "owner/name" of one on the hub, unless there is a folder `owner` here.

    Returns:
        The folder; `source` itself where there is none, which messages then name.

    Raises:
        FileNotFoundError: If the hub has no such model, or cannot be reached.
        UserError: If what came from there is damaged.
    """
    if Path(source).exists():
        return Path(source)
    shipped = find_weights(source)
    if shipped is not None:
        return shipped
    return download_model(Path(source).as_posix()) if is_hub_id(source) else Path(source)


def load(source: str | Path, *, dtype: torch.dtype = torch.float32) -> SpikingModel:
    """Loads a model that `save_pretrained` or a training run wrote.

    Args:
        source: Folder with config.json and model.safetensors, the name of a model that comes along,
            or a hub id "owner/name".
        dtype: Floating-point type of the loaded weights, whatever they are stored in.

    Returns:
        The model in evaluation mode.

    Raises:
        FileNotFoundError: If `source` is none of these.
        UserError: If a file is damaged, the weights do not fit the model that config.json
            describes, or a part of the user's that it names is not imported; nothing that the user
            did not import is run.
    """
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise UserError(f"dtype is {dtype!r}; pass a floating-point type such as torch.float32")
    folder = find_model(source)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}; pass a folder that save_pretrained wrote, "
                "such as run/best"
            )
    recipe, weights = read_recipe(folder), folder / "model.safetensors"
    check_parts(folder / "config.json", recipe.parts)
    if not is_registered(recipe.name):
        raise FileError(
            f"{folder / 'config.json'} describes the model {recipe.name!r}, which is none of "
            "spikesight; pass --import with the file that registers it, or import that file "
            "before loading"
        )
    model = _built(recipe, folder, weights, dtype)
    tensors = read_tensors(weights)
    try:
        if recipe.packed:
            pack_synapses(model)
            model.recipe["packed"] = True
            tensors = unpacked_tensors(model, tensors)
    except UserError as error:
        raise FileError(f"{weights}: does not fit {recipe.name}: {error}; {COPY_AGAIN}") from error
    check_fits(weights, tensors, model.state_dict(), recipe.name)
    model.load_state_dict(tensors)
    model.card = _card(folder)
    model.measured = _measured(folder, model)
    return model.eval()


def check_fits(
    path: Path,
    tensors: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    name: str,
    remedy: str = COPY_AGAIN,
) -> None:
    """Refuses tensors that a model does not have, lacks, or has in another shape or kind.

    Args:
        path: Where they come from.
        tensors: What was read.
        own: The state of the model.
        name: What messages call the model.
        remedy: What helps.

    Raises:
        FileError: If they do not fit; names the tensor.
    """
    check_shapes(path, {n: tuple(t.shape) for n, t in tensors.items()}, own, name, remedy)
    for key, tensor in tensors.items():
        if tensor.is_complex() or tensor.is_floating_point() != own[key].is_floating_point():
            wanted = "floating-point" if own[key].is_floating_point() else "whole"
            problem = f"{key} holds {str(tensor.dtype).removeprefix('torch.')} numbers"
        elif tensor.dtype != own[key].dtype and not tensor.to(own[key].dtype).isfinite().all():
            wanted, problem = "smaller", f"{key} holds numbers too large for {own[key].dtype}"
        elif key.endswith("running_var") and (tensor < 0).any():
            wanted, problem = "positive", f"{key} is a variance and holds numbers below 0"
        else:
            continue
        raise FileError(
            f"{path}: does not fit {name}: {problem} where {wanted} ones belong; {remedy}"
        )


def check_shapes(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    own: Mapping[str, Tensor],
    name: str,
    remedy: str = COPY_AGAIN,
) -> None:
    """Refuses names and shapes that are not those of a model's state; as `check_fits`."""
    missing = [key for key in own if key not in shapes]
    left = [key for key in shapes if key not in own]
    different = [k for k, shape in shapes.items() if k in own and shape != tuple(own[k].shape)]
    if missing:
        problem = f"{missing[0]} is missing ({len(missing)} such tensors)"
    elif left:
        problem = f"{left[0]} is no tensor of it ({len(left)} such tensors)"
    elif different:
        key = different[0]
        problem = f"{key} is {list(shapes[key])} and not {list(own[key].shape)}"
    else:
        return
    raise FileError(f"{path}: does not fit {name}: {problem}; {remedy}")


def _built(recipe: RecipeFile, folder: Path, weights: Path, dtype: torch.dtype) -> SpikingModel:
    """The model that a recipe describes, once its size is known to be that of the weights."""
    shapes = read_shapes(weights)
    layers = _count_layers(recipe.arguments)
    if layers > len(shapes):
        raise FileError(
            f"{weights}: does not fit {recipe.name}: config.json describes {layers} layers and "
            f"the file has {len(shapes)} tensors; {COPY_AGAIN}"
        )
    try:
        with torch.device("meta"):
            outline = _model(recipe)
        if recipe.quantization is None:
            check_shapes(weights, shapes, outline.state_dict(), recipe.name)
        claimed = sum(tensor.numel() for tensor in outline.state_dict().values())
        if claimed > _MOST_NUMBERS_PER_BYTE * weights.stat().st_size:
            raise FileError(
                f"{weights}: does not fit {recipe.name}: config.json describes a model of "
                f"{claimed:,} numbers, of which so small a file holds none; {COPY_AGAIN}"
            )
        model = _model(recipe).to(dtype)
        if recipe.quantization is not None:
            quantize_like(model, recipe.quantization)
    except FileError:
        raise
    except Exception as error:  # Whatever building does with a wrong recipe.
        raise FileError(
            f"{folder / 'config.json'} does not describe a model ({error}); {COPY_AGAIN}"
        ) from error
    return model


def _count_layers(arguments: Mapping[str, Any]) -> int:
    """How many layers the arguments of a model ask for, at least."""
    layers = 0
    for name, value in arguments.items():
        if isinstance(value, dict):
            layers += _count_layers(value)
        elif name in _LAYERS:
            numbers = value if isinstance(value, list) else [value]
            layers += sum(number for number in numbers if isinstance(number, int))
    return layers


def _card(folder: Path) -> dict[str, Any] | None:
    """What run.json says; None where it is damaged, which those report who cannot do without."""
    try:
        return read_json(folder / "run.json", dict[str, Any], remedy=COPY_AGAIN)
    except (OSError, UserError):
        return None


def _measured(folder: Path, model: SpikingModel) -> MeasuredInputs | None:
    """What calibration.safetensors says; None where deployment would refuse it."""
    try:
        tensors = read_measured(folder)
    except (OSError, UserError):
        return None
    if tensors is None:
        return None
    return MeasuredInputs(tensors, digest_model(model.recipe, model.state_dict()))


def _model(recipe: RecipeFile) -> SpikingModel:
    model: SpikingModel = create_model(recipe.name, **recipe.arguments)
    if recipe.masked_image is not None:
        model = MaskedAutoencoder(model, recipe.masked_image)
    return model
