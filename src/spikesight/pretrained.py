"""Saved models, from a folder or a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import torch

from spikesight.errors import UserError
from spikesight.files.documents import read_json
from spikesight.files.tensors import COPY_AGAIN, read_tensors
from spikesight.models.base import Quantization, SpikingModel
from spikesight.models.masked_image import MaskedAutoencoder, MaskedImageSizes
from spikesight.passes.quantization import quantize_like
from spikesight.registry import create_model
from spikesight.synapses import pack_synapses
from spikesight.synapses.packed_synapse import load_packed_tensors


class RecipeFile(msgspec.Struct, forbid_unknown_fields=True):
    """What config.json of a saved model holds; see `spikesight.models.Recipe`."""

    name: str
    arguments: dict[str, Any]
    quantization: Quantization | None = None
    packed: bool = False
    masked_image: MaskedImageSizes | None = None


def read_recipe(folder: Path) -> RecipeFile:
    """Reads config.json of a saved model.

    Args:
        folder: Where it lies.

    Raises:
        FileNotFoundError: If there is none.
        UserError: If it is damaged.
    """
    return read_json(folder / "config.json", RecipeFile, remedy=COPY_AGAIN)


def load(source: str | Path, *, dtype: torch.dtype = torch.float32) -> SpikingModel:
    """Loads a model that `save_pretrained` or a training run wrote.

    Args:
        source: Folder with config.json and model.safetensors, or a hub id "owner/name".
        dtype: Floating-point type of the loaded weights, whatever they are stored in.

    Returns:
        The model in evaluation mode.

    Raises:
        FileNotFoundError: If `source` is neither a folder with these files nor a hub id.
        ValueError: If a file is damaged, or the weights do not fit the model that config.json
            describes.
    """
    folder = Path(source)
    if not folder.exists() and str(source).count("/") == 1 and not str(source).startswith("."):
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(str(source)))
        except Exception as error:
            raise FileNotFoundError(
                f"{source} is no folder here and could not be had from the hub: {error}"
            ) from error
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}; pass a folder that save_pretrained wrote, "
                "such as run/best"
            )
    recipe = read_recipe(folder)
    try:
        model = _build(recipe, dtype)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder / 'config.json'} does not describe a model ({error}); {COPY_AGAIN}"
        ) from error
    tensors = read_tensors(folder / "model.safetensors")
    try:
        if recipe.packed:
            pack_synapses(model)
            model.recipe["packed"] = True
            load_packed_tensors(model, tensors)
        else:
            model.load_state_dict(tensors)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{folder / 'model.safetensors'} does not fit {recipe.name}: {error}"
        ) from error
    return model.eval()


def _build(recipe: RecipeFile, dtype: torch.dtype) -> SpikingModel:
    model: SpikingModel = create_model(recipe.name, **recipe.arguments).to(dtype)
    if recipe.masked_image is not None:
        model = MaskedAutoencoder(model, recipe.masked_image).to(dtype)
    if recipe.quantization is not None:
        quantize_like(model, recipe.quantization)
    return model
