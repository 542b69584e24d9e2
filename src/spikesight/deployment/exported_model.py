"""An export in the place of the trained model: real outputs of the same kind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from torch import Tensor, nn

from spikesight.data.photos.augmentation import normalize
from spikesight.deployment.deployed_model import real_outputs, what_maps_give
from spikesight.deployment.description import NETWORK
from spikesight.deployment.export.preparation import Preparation
from spikesight.deployment.export.proved_runtime import ProvedRuntime
from spikesight.deployment.export.reading import check_export, read_export_card
from spikesight.detection_outputs import DenseDetection
from spikesight.errors import FileError, UserError, missing_package
from spikesight.files.documents import parse_json
from spikesight.files.limits import FRAME_CELLS
from spikesight.files.names import show
from spikesight.models.base import Gives
from spikesight.segmentation_outputs import PixelSegmentation, Segmentation

_AGAIN = "export it again"
_SLIDE = "; large photos fit in windows by --view.mode=slide"
_LONGEST_NUMBER, _LONGEST_REASON = 64, 200
_Side = Annotated[int, msgspec.Meta(ge=1, le=4096)]


class _Facts(msgspec.Struct):
    """What is read of a card's section about the network."""

    stride: _Side


class _Said(msgspec.Struct):
    """A card, of which the rest is read elsewhere."""

    network: _Facts


class ExportedModel(nn.Module):
    """Runs an ONNX or OpenVINO file on the CPU and scales its outputs to real ones.

    Attributes:
        runtime: What runs it, proved by the file's self-test.
        stride: What height and width of an input must be divisible by.
        gives: What it returns, as of `SpikingModel`.

    Args:
        path: The file.

    Raises:
        ExportError: If the runtime is not exact on this machine.
        FileError: If the file is damaged or says impossible things; names the field.
        MissingPackageError: If the runtime is not installed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._name = show(path)
        self.stride = read_stride(path)
        self._preparation = Preparation.read(read_export_card(path))
        with _explained(path):
            self.runtime = _runtime(path)
            self._shape = self._checked_shape()
            dtype = torch.uint8 if self.runtime.reads_photos else torch.float32
            blank = self.runtime.outputs(torch.zeros(1, *self.runtime.shape, dtype=dtype))
        self._scales = [self._scale(name, one=len(blank) == 1) for name in blank]
        self.gives: Gives = (
            "segments"
            if "class_logits" in blank
            else what_maps_give([tuple(output.shape[1:]) for output in blank.values()])
        )
        self.eval()

    def forward(self, x: Tensor) -> Tensor | Segmentation | PixelSegmentation | DenseDetection:
        """Logits [B, K], or a segmenter's or detector's output, of normalised images or frames.

        Raises:
            UserError: If the file was not written for inputs of this shape.
        """
        if tuple(x.shape[1:]) != self._shape:
            raise UserError(self._refusal(x))
        outputs = self.runtime.outputs(self._photos(x) if self.runtime.reads_photos else x)
        return real_outputs(
            [output.to(x.device) for output in outputs.values()], self._scales, self.gives
        )

    def _checked_shape(self) -> tuple[int, ...]:
        shape = self.runtime.shape
        if len(shape) not in (3, 4) or not all(isinstance(n, int) and n > 0 for n in shape):
            raise FileError(f"{self._name}: image: has no shape of images or frames; {_AGAIN}")
        FRAME_CELLS.check(math.prod(shape), f"{self._name}: image")
        if self.runtime.reads_photos:
            height, width, channels = shape
            shape = (channels, height, width)
        if any(side % self.stride for side in shape[-2:]):
            raise FileError(
                f"{self._name}: network.stride: {self.stride} does not divide {shape[-1]}x"
                f"{shape[-2]} pixels; {_AGAIN}"
            )
        return shape

    def _photos(self, x: Tensor) -> Tensor:
        """The bytes [B, H, W, C] that normalised images were made of."""
        said = self._preparation
        if said is None or len(said.mean) != x.shape[1]:
            raise UserError(
                f"{self._name} takes photos and does not say by which mean and std they are "
                f"normalised; {_AGAIN}"
            )
        mean, std = (x.new_tensor(values).view(-1, 1, 1) for values in (said.mean, said.std))
        photos = (255 * (x * std + mean)).round().clamp(0, 255).to(torch.uint8)
        if not torch.equal(normalize(photos, said.mean, said.std), x):
            raise UserError(
                f"{self._name} takes photos and is shown values that no byte has, as in the border "
                "of a photo that is padded or between pixels of one that is scaled after "
                "normalisation; export it without --photo-input"
            )
        return photos.permute(0, 2, 3, 1)

    def _scale(self, name: str, *, one: bool) -> float:
        field = "scale" if one else f"{name}.scale"
        text = self.runtime.metadata(field)
        try:
            scale = float((text or "")[:_LONGEST_NUMBER])
        except ValueError:
            scale = math.nan
        if not (math.isfinite(scale) and scale > 0):
            said = "is missing" if text is None else f"is {show(text[:_LONGEST_NUMBER])!r}"
            raise FileError(
                f"{self._name}: {field}: {said}, where a positive number belongs; {_AGAIN}"
            )
        return scale

    def _refusal(self, x: Tensor) -> str:
        if x.ndim - 1 != len(self._shape):
            takes, shown, option = "frames", "images", "without"
            if len(self._shape) == 3:
                takes, shown, option = "images", "frames", "with"
            return (
                f"{self._name} takes {takes} and is shown {shown}; pass the .spk file, or export "
                f"it {option} --frames"
            )
        (*_, channels, height, width), (*_, shown_channels, down, across) = self._shape, x.shape
        if channels != shown_channels:
            return f"{self._name} takes {channels} channels and is shown {shown_channels}; {_AGAIN}"
        return (
            f"{self._name} takes {width}x{height} pixels and no other size, and is shown "
            f"{across}x{down}; pass the .spk file, which takes any, or export it with "
            f"--size=[{down},{across}]" + ("" if self.gives == "classes" else _SLIDE)
        )


def read_stride(path: Path) -> int:
    """What height and width of a file's inputs must be divisible by; 1 if it does not say.

    Raises:
        FileError: If the file is damaged or says something impossible; names the field.
    """
    card, name = read_export_card(path), show(path)
    if card is None or NETWORK not in parse_json(card, dict[str, Any], name, remedy=_AGAIN):
        return 1
    return parse_json(card, _Said, name, remedy=_AGAIN).network.stride


def _runtime(path: Path) -> ProvedRuntime:
    check_export(path)
    if path.suffix == ".onnx":
        from spikesight.deployment.export.onnx_runtime import OnnxRuntime

        return OnnxRuntime(path)
    from spikesight.deployment.export.openvino_runtime import OpenVinoRuntime

    return OpenVinoRuntime(path)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Names the file where a runtime is missing, or refuses it within the with block."""
    package = "onnxruntime" if path.suffix == ".onnx" else "openvino"
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        raise missing_package(f"running {show(path)}", package, "deploy") from error
    except Exception as error:  # Whatever a runtime raises of a damaged model.
        said = show(" ".join(str(error).split())[:_LONGEST_REASON])
        raise FileError(f"{show(path)}: {package} cannot run it ({said}); {_AGAIN}") from error
