"""calibration.safetensors: what deployment must know of real inputs, beside a model's weights.

With it a trained model is deployed where its training data are not. The file holds no input: only
the largest magnitude of a value, the mean of every channel that a synapse reads, and the SHA-256
of the weights that it was measured with.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from spikesight.errors import FileError
from spikesight.files.limits import CALIBRATION_BYTES
from spikesight.files.names import show
from spikesight.files.opening import open_regular
from spikesight.files.replacing import replaced_file
from spikesight.files.tensors import read_tensors, write_tensors
from spikesight.graph import trace
from spikesight.passes.calibration import Calibration, calibrate
from spikesight.passes.fixed_point import LEAST_PEAK
from spikesight.passes.folding import fold

CALIBRATION = "calibration.safetensors"
_PEAK, _MEAN, _WEIGHTS = "peak", "mean_inputs.", "weights"
_REMEDY = "remove it, or calibrate by --photos=FOLDER"


@torch.no_grad()
def measure_calibration(model: nn.Module, batches: Iterable[Tensor]) -> Calibration:
    """What `deploy(model, ..., calibration=batches)` measures.

    Args:
        model: A spiking model; it is not changed.
        batches: Normalised inputs [B, C, H, W] or frames [B, T, C, H, W].

    Raises:
        UntraceableError: If the model has no graph.
        UserError: If the inputs do not fit it, or are as good as zero.
    """
    batches = list(batches)
    model = copy.deepcopy(model).cpu().double().eval()
    return calibrate(fold(trace(model, batches[0])), batches)


def write_calibration(folder: Path, measured: Calibration) -> None:
    """Writes the file beside a folder's weights, whole or not at all.

    Args:
        folder: Folder with model.safetensors.
        measured: What was measured with those weights.
    """
    tensors = {_PEAK: torch.tensor([measured.peak], dtype=torch.float64)}
    tensors |= {
        f"{_MEAN}{name}": mean.double().contiguous().clone()
        for name, mean in measured.mean_inputs.items()
    }
    with replaced_file(folder / CALIBRATION) as new:
        write_tensors(new, tensors, {_WEIGHTS: _digest(folder)})


def read_calibration(folder: Path) -> Calibration | None:
    """Reads the file beside a folder's weights; None where there is none.

    Raises:
        FileError: If it is damaged, too large or was measured with other weights; names the field.
    """
    path = folder / CALIBRATION
    if not path.exists():
        return None
    name = show(path)
    with open_regular(path) as file:
        CALIBRATION_BYTES.check(os.fstat(file.fileno()).st_size, name)
    tensors = read_tensors(path)
    if _weights_of(path) != _digest(folder):
        raise FileError(f"{name}: {_WEIGHTS}: it was measured with other weights; {_REMEDY}")
    peak = tensors.pop(_PEAK, None)
    if peak is None or peak.shape != (1,) or not float(peak) >= LEAST_PEAK:
        raise FileError(f"{name}: {_PEAK}: is no magnitude of inputs; {_REMEDY}")
    for key, mean in tensors.items():
        if not key.startswith(_MEAN) or mean.ndim != 1 or not mean.is_floating_point():
            raise FileError(f"{name}: {show(key)}: is no mean of channels; {_REMEDY}")
    return Calibration(
        float(peak), {key.removeprefix(_MEAN): mean.double() for key, mean in tensors.items()}
    )


def carry_calibration(source: Path, folder: Path) -> None:
    """Writes what lies beside some weights beside others that stand for the same network.

    Args:
        source: Folder of the weights that it was measured with; it may have none.
        folder: Folder of the same weights in another form.
    """
    measured = read_calibration(source)
    if measured is not None:
        write_calibration(folder, measured)


def _weights_of(path: Path) -> str | None:
    try:
        with safe_open(path, framework="pt") as file:
            said: str | None = (file.metadata() or {}).get(_WEIGHTS)
            return said
    except (SafetensorError, OSError) as error:
        raise FileError(f"{show(path)} is damaged ({error}); {_REMEDY}") from error


def _digest(folder: Path) -> str:
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
