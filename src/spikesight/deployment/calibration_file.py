"""What deployment must know of real inputs, measured and kept beside a model's weights.

With it a trained model is deployed where its training data are not. calibration.safetensors holds
no input: only the largest magnitude of a value and the mean of every channel that a synapse reads.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from spikesight.errors import FileError
from spikesight.files.calibration import CALIBRATION, REMEDY, read_measured, write_measured
from spikesight.files.names import show
from spikesight.graph import trace
from spikesight.passes.calibration import Calibration, calibrate
from spikesight.passes.fixed_point import LEAST_PEAK
from spikesight.passes.folding import fold

_PEAK, _MEAN = "peak", "mean_inputs."


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
    write_measured(folder, tensors)


def read_calibration(folder: Path) -> Calibration | None:
    """Reads the file beside a folder's weights; None where there is none.

    Raises:
        FileError: If it is damaged, too large or was measured with other weights; names the field.
    """
    tensors = read_measured(folder)
    if tensors is None:
        return None
    name = show(folder / CALIBRATION)
    peak = tensors.pop(_PEAK, None)
    if peak is None or peak.shape != (1,) or not float(peak) >= LEAST_PEAK:
        raise FileError(f"{name}: {_PEAK}: is no magnitude of inputs; {REMEDY}")
    for key, mean in tensors.items():
        if not key.startswith(_MEAN) or mean.ndim != 1 or not mean.is_floating_point():
            raise FileError(f"{name}: {show(key)}: is no mean of channels; {REMEDY}")
    return Calibration(
        float(peak), {key.removeprefix(_MEAN): mean.double() for key, mean in tensors.items()}
    )
