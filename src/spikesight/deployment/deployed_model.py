"""A deployed network in the place of the trained model: real outputs of the same kind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spikesight.deployment.network import Deployed
from spikesight.detection_outputs import DenseDetection
from spikesight.errors import UserError
from spikesight.models.base import Gives
from spikesight.native import spk
from spikesight.segmentation_outputs import PixelSegmentation, Segmentation

_PYTORCH = "PyTorch"


class DeployedModel(nn.Module):
    """Runs an integer network and scales its outputs to real ones.

    On a CPU libspk runs it, where that was built.

    Attributes:
        stride: What height and width of an input must be divisible by.
        gives: What it returns, as of `SpikingModel`.

    Args:
        net: The network.
    """

    def __init__(self, net: Deployed) -> None:
        super().__init__()
        self.net = net
        self.stride = net.graph.input.stride
        self.gives = _gives(net)
        self._device = torch.device("cpu")
        self.eval()

    def forward(self, x: Tensor) -> Tensor | Segmentation | PixelSegmentation | DenseDetection:
        """Logits [B, K], or a segmenter's or detector's output, of normalised images or frames.

        Raises:
            UserError: If its maps are only a part of what finds instances.
        """
        height, width = x.shape[-2:]
        if x.device != self._device:
            self.net.to(x.device)
            self._device = x.device
        runs_native = fastest_form(x.device) != _PYTORCH and len(x) > 0
        outputs = self.net.native_outputs(x) if runs_native else self.net.outputs(x)
        one = len(outputs) == 1
        scales = (self.net.scale_at((height, width)),) if one else self.net.scales
        return real_outputs(outputs, scales, self.gives)


def real_outputs(
    outputs: Sequence[Tensor], scales: Sequence[float], gives: Gives
) -> Tensor | Segmentation | PixelSegmentation | DenseDetection:
    """Integer logits as what a trained model of the same kind returns.

    Args:
        outputs: Integer logits of each output.
        scales: Real value of one unit of each.
        gives: What the model returns, as of `SpikingModel`.

    Raises:
        UserError: If its maps are only a part of what finds instances.
    """
    scaled = [output.float() * scale for output, scale in zip(outputs, scales, strict=True)]
    if gives == "classes":
        return scaled[0]
    if gives == "pixels":
        return PixelSegmentation(scaled[0])
    if gives == "segments":
        classes, masks = scaled
        return Segmentation(classes, masks)
    if gives == "instances":
        raise UserError(
            "the network gives the maps of a trunk, from which host code would have to go on; "
            "use Deployed.outputs, or the run that it was made from"
        )
    levels = len(scaled) // 3
    return DenseDetection(
        tuple(scaled[:levels]), tuple(scaled[levels:-levels]), tuple(scaled[-levels:])
    )


def fastest_form(device: torch.device) -> str:
    """What runs a `DeployedModel` on a device: "libspk (avx2)", for one, or "PyTorch".

    Args:
        device: Where its inputs are.
    """
    kernels = spk.kernels() if device.type == "cpu" else []
    return f"libspk ({kernels[0]})" if kernels else _PYTORCH


def _gives(net: Deployed) -> Gives:
    outputs, shapes = net.graph.outputs, net.graph.shapes(net.graph.max_size)
    if any(output.of_queries for output in outputs):
        return "segments"
    return what_maps_give([(shapes[o.name].channels, *shapes[o.name].size) for o in outputs])


def what_maps_give(shapes: Sequence[tuple[int, ...]]) -> Gives:
    """What a model without queries returns.

    Args:
        shapes: Channels, height and width of each output; of logits of classes their number alone.
    """
    if len(shapes) == 1:
        return "pixels" if shapes[0][1:] else "classes"
    return "boxes" if _is_dense(shapes) else "instances"


def _is_dense(maps: Sequence[tuple[int, ...]]) -> bool:
    """Whether maps are centres, distances and classes of L levels, in the order of that class."""
    levels = len(maps) // 3
    kinds = [maps[:levels], maps[levels : 2 * levels], maps[2 * levels :]]
    sizes = [[shape[1:] for shape in kind] for kind in kinds]
    channels = [{shape[0] for shape in kind} for kind in kinds]
    return sizes[0] == sizes[1] == sizes[2] and channels[:2] == [{1}, {4}] and len(channels[2]) == 1
