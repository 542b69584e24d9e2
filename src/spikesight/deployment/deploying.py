"""From a trained model to its deployed network."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from spikesight.deployment.network import Deployed, Training
from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.graph import Graph, trace
from spikesight.passes.batches import checked_inputs
from spikesight.passes.calibration import Calibration, calibrate, peak_of
from spikesight.passes.folding import fold
from spikesight.passes.integerisation import IntegerSettings, integerise


@torch.no_grad()
def deploy(
    model: nn.Module,
    example: Tensor,
    max_size: tuple[int, int] | None = None,
    calibration: Iterable[object] | Calibration | None = None,
    weight_bits: int = 8,
    stream_bits: int | None = None,
) -> Deployed:
    """Makes the integer network of a trained model.

    Counts are integers already, so nothing but the weights, the image and the residual stream
    needs a grid: weights get scales per channel from their own range, and no activation is clipped.

    Args:
        model: A spiking model; it is not changed.
        example: Normalised images [B, C, H, W] or frames [B, T, C, H, W]. Their range sets the
            image's grid, unless there is `calibration`.
        max_size: Largest height and width of an input; ranges are proved up to it. The
            example's if omitted.
        calibration: Batches of normalised inputs, or of (inputs, labels), such as a loader. Their
            range sets the image's grid, and rounding's mean error is taken out of the biases. Or
            what was measured of such before.
        weight_bits: Bits of a weight, 2 to 8. Weights that read the image have at most 7, so that
            no processor's 8-bit products overflow.
        stream_bits: Bits after the binary point of the residual streams, 1 to 16; if omitted 10, or
            as many fewer as the range proof asks for.

    Returns:
        The deployed network.

    Raises:
        NotDeployableError: If a part of the model has no integer form; names it and the remedy.
        RangeError: If 32 bits do not suffice for a value; names it and the bits.
        UserError: If an argument is out of range, the model does not take the example, what sets
            the image's grid is empty, not finite or as good as zero, or what was measured is of
            another network.
    """
    example = checked_inputs(example)
    model = copy.deepcopy(model).cpu().double().eval()
    graph = fold(trace(model, example))
    height, width = example.shape[-2:]
    settings = IntegerSettings(max_size or (height, width), weight_bits, stream_bits)
    if isinstance(calibration, Calibration):
        measured = calibration
        _check_fits(measured, graph, (height, width))
    elif calibration is None:
        measured = Calibration(peak_of(example))
    else:
        measured = calibrate(graph, calibration)
    return Deployed(integerise(graph, settings, measured), Training(graph, settings))


def _check_fits(measured: Calibration, graph: Graph, size: tuple[int, int]) -> None:
    """Refuses means of values that a network does not have."""
    shapes = graph.shapes(size)
    for name, mean in measured.mean_inputs.items():
        if name not in shapes or shapes[name].channels != len(mean):
            raise UserError(
                f"calibration: the network has no value {show(name)} of {len(mean)} channels; pass "
                "what was measured of it, or batches of inputs"
            )
