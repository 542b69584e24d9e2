"""The command line's view of the passes and of saved models: call, then print."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from spikesight.deployment_commands import network_and_images, verify_deployed
from spikesight.interop import load_official
from spikesight.models import SpikingModel
from spikesight.passes import energy, verify
from spikesight.pretrained import load
from spikesight.training.run_folder import resolve_model_folder
from spikesight.training.validation import sample_images

Split = Literal["validation", "test", "all"]


def verify_command(
    model: Path,
    run: Path | None = None,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
    images: int = 16,
    precision: Literal["float64", "float32"] = "float64",
    against: str = "spikes",
) -> None:
    """Proves a model equal to its T x D binary spikes, layer by layer.

    Args:
        model: Folder of a run, or its best/ or last/; or a .spk file, whose integers must equal its
            spikes and its exports.
        run: Folder of the run whose images are used; needed with a .spk file.
        data: Fields of the data configuration that differ from training: --data.path=… and so on.
        split: Which images to compare on.
        images: Number of images.
        precision: Arithmetic of a run's comparison; in float32 a rounding error can flip a spike.
        against: For a .spk file, any of spikes, onnx and openvino, separated by commas.
    """
    if model.is_file():
        net, x = network_and_images(model, run, data, split, images)
        verify_deployed(net, x, against)
        return
    x = sample_images(run or model, data, images, split)
    result = verify(load(resolve_model_folder(model)), x, dtype=getattr(torch, precision))
    print(result.table())
    if not result.equal:
        raise ArithmeticError(f"{result.mismatches} elements differ; the table says where")


def energy_command(
    folder: Path,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
    images: int = 256,
    html: Path | None = None,
) -> None:
    """Counts the synaptic operations of a trained model on real images, and their energy.

    Args:
        folder: Folder of a run, or its best/ or last/.
        data: Fields of the data configuration that differ from training: --data.path=… and so on.
        split: Which images to average over.
        images: Number of images.
        html: Also write the report as one self-contained page.
    """
    x = sample_images(folder, data, images, split)
    report = energy(load(resolve_model_folder(folder)), x.split(64))
    print(report.table())
    if html is not None:
        report.to_html(html)
        print(f"report in {html}")


def convert_command(
    source: Path,
    output: Path,
    family: str | None = None,
    configuration: dict[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Writes a model as a folder that spikesight loads: an authors' checkpoint, or a trained run.

    Args:
        source: Folder of a run (or its best/), or a .pth file of an authors' state dict, plain or
            under "model" or "state_dict"; the file is read without executing code.
        output: Folder to write.
        family: Family of an authors' checkpoint: "metaspikformer", "qsd" or
            "spike2former".
        configuration: What an authors' state dict does not tell: --configuration.num_heads=8.
        half: Store the weights in half precision.
    """
    if family is None:
        folder = resolve_model_folder(source)
        model = load(folder)
        model.save_pretrained(output, half=half)
        if (folder / "run.json").is_file():
            shutil.copyfile(folder / "run.json", output / "run.json")
    else:
        model = _official(family, source, configuration or {})
        model.save_pretrained(output, half=half)
    size = (output / "model.safetensors").stat().st_size
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {size:,} bytes in {output}")


def _official(family: str, checkpoint: Path, configuration: dict[str, Any]) -> SpikingModel:
    if not checkpoint.is_file():
        raise FileNotFoundError(f"there is no checkpoint {checkpoint}")
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    for key in ("model", "state_dict"):
        if isinstance(state.get(key), dict):
            state = state[key]
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    model = load_official(family, state, **configuration)
    if not isinstance(model, SpikingModel):
        raise ValueError(f"{checkpoint} holds one block and no whole model; use ss.load_official")
    return model
