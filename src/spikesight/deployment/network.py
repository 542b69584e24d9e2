"""The deployed network: what `spikesight.deploy` returns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikesight.deployment.comparison import Comparison, compare
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.deployment.runtime.native import NativeRuntime
from spikesight.deployment.runtime.spikes import SpikeExecutor
from spikesight.errors import UserError, missing_package
from spikesight.files.names import show
from spikesight.graph import Graph, integer_vocabulary as integer
from spikesight.passes.batches import require_finite
from spikesight.passes.calibration import calibrate
from spikesight.passes.integerisation import IntegerSettings, integerise
from spikesight.passes.ranges import scale_at
from spikesight.presentation import as_batch, check_input

_FAR_BEYOND = 4.0
"""Inputs somewhat beyond the range of calibration are clipped without a word."""
_PACKAGES = ("onnx", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Training:
    """What a network was made from.

    Attributes:
        graph: The folded floating-point network, float64.
        settings: Bits and the largest size.
    """

    graph: Graph
    settings: IntegerSettings


class Deployed:
    """One integer network and its binary spikes, equal bit for bit.

    A call takes normalised images [B, C, H, W] or frames [B, T, C, H, W] and returns integer
    logits [B, K]; times `scale` they are the real logits. A call starts from rest.

    Args:
        graph: The network.
        training: What it was made from, if that is at hand.
        card: How its inputs are prepared and what its classes are called, as run.json says it,
            if that is known.
    """

    def __init__(
        self, graph: integer.Graph, training: Training | None = None, card: str | None = None
    ) -> None:
        self.graph = graph
        self.card = card
        self.training = training
        self._executor = IntegerExecutor(graph)
        self._native: NativeRuntime | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_native": None}

    @property
    def scale(self) -> float:
        """Real value of one unit of the logits, for inputs of the largest size.

        Of several outputs the last.
        """
        return self.graph.output.scale

    def scale_at(self, size: tuple[int, int]) -> float:
        """Real value of one unit of the logits for inputs of a height and width.

        It differs from `scale` only where a classifier reads the mean over pixels of spikes
        (Spikformer): its logits are sums over pixels.
        """
        return scale_at(self.graph, size)

    @property
    def steps(self) -> int:
        """Time steps T."""
        return self.graph.input.steps

    def calibrate(self, loader: Iterable[object]) -> Deployed:
        """Makes the integers again, in place, with what real inputs say.

        The inputs' range sets the image's grid, and the mean error of rounding the weights is
        taken out of the biases.

        Args:
            loader: Batches of normalised inputs, or of (inputs, labels); a few hundred suffice.

        Returns:
            The network itself.

        Raises:
            UserError: If there is no batch, or the network was read from a file.
        """
        if self.training is None:
            raise UserError(
                "a network read from a file does not hold the floating-point network it was made "
                "from; deploy the model again to calibrate it"
            )
        measured = calibrate(self.training.graph, loader)
        self.graph = integerise(self.training.graph, self.training.settings, measured)
        self._executor = IntegerExecutor(self.graph, self._executor.device)
        return self

    def to(self, device: torch.device | str) -> Deployed:
        """Moves the network, in place; returns it."""
        self._executor = IntegerExecutor(self.graph, device)
        return self

    def __call__(self, x: Tensor) -> Tensor:
        """Runs the integer network.

        Args:
            x: Normalised images [B, C, H, W] or frames [B, T, C, H, W].

        Returns:
            Integer logits [B, K], int32.

        Raises:
            UserError: If the network does not take the input or has several outputs.
        """
        return self._only(self.outputs, x)

    def outputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """Runs an integer network that may have several outputs.

        Args:
            x: Normalised images [B, C, H, W] or frames [B, T, C, H, W].

        Returns:
            Integer logits, int32, of each output; a segmenter's are classes [B, Q, K + 1] and
            masks [B, Q, h, w]. Times `scales` they are the real logits.

        Raises:
            UserError: If the network does not take the input.
        """
        return self._executor.run(self._taken(x))

    @property
    def scales(self) -> tuple[float, ...]:
        """Real value of one unit of each output."""
        return tuple(node.scale for node in self.graph.outputs)

    def spikes(self, x: Tensor) -> Tensor:
        """Is a call, run as T x D steps of binary spikes."""
        return self._only(self.spike_outputs, x)

    def spike_outputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """Is `outputs`, run as T x D steps of binary spikes."""
        return SpikeExecutor(self.graph, self._executor.device).run(self._taken(x))

    def native(self, x: Tensor) -> Tensor:
        """Is a call, run by libspk on the CPU: the same integers, faster.

        Raises:
            MissingPackageError: If libspk was not built.
            UserError: If the network does not take the input or has several outputs.
        """
        return self._only(self.native_outputs, x)

    def native_outputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """Is `outputs`, run by libspk on the CPU; see `native`."""
        x = self._taken(x)
        if self._native is None or self._native.graph is not self.graph:
            self._native = NativeRuntime(self.graph)
        return self._native.outputs(x)

    def verify(self, x: Tensor, against: Sequence[str] = ("spikes",)) -> Comparison:
        """Counts the elements in which other forms of the network differ from it, per layer.

        Args:
            x: Normalised images [B, C, H, W] or frames [B, T, C, H, W].
            against: Any of "spikes", "native" (libspk), "onnx", "openvino" (these are equal: 0) and
                "training" (the floating-point network, which rounding makes differ: a rate).

        Returns:
            The differences.

        Raises:
            MissingPackageError: If the package of a form is not installed or not built.
            UserError: If a form is unknown or not at hand, or the network does not take the input.
        """
        x = self._taken(x)
        training = None if self.training is None else self.training.graph
        try:
            return compare(self.graph, training, self._executor, x, against)
        except ImportError as error:
            if error.name not in _PACKAGES:
                raise
            purpose = f"comparing with {', '.join(against)}"
            raise missing_package(purpose, error.name, "deploy") from error

    def save(self, path: str | Path) -> None:
        """Writes the network as a .spk file.

        Args:
            path: The file; its folder is made if it does not exist.

        Raises:
            SpkError: If the network is not one that `load` would accept; says why.
        """
        from spikesight.deployment.description import described
        from spikesight.deployment.spk.file import write_spk

        Path(path).parent.mkdir(parents=True, exist_ok=True)
        card = None if self.card is None else described(self.card, self.graph)
        write_spk(self.graph, path, card)

    @staticmethod
    def load(path: str | Path) -> Deployed:
        """Reads a .spk file; no code in it can run.

        Raises:
            FileNotFoundError: If there is no such file.
            SpkError: If the file is damaged, hostile or of a newer version; says what is wrong.
            UserError: If it is an export for another runtime.
        """
        from spikesight.deployment.export.exporting import EXPORT_ENDINGS
        from spikesight.deployment.spk.file import read_spk_and_card

        if Path(path).suffix in EXPORT_ENDINGS:
            raise UserError(
                f"{show(path)} is an export; pass the .spk file that it was written from"
            )
        graph, card = read_spk_and_card(path)
        return Deployed(graph, card=card)

    def export(
        self,
        path: str | Path,
        size: tuple[int, int] | None = None,
        *,
        frames: bool = False,
        photo_input: bool = False,
    ) -> Path:
        """Writes the network for another runtime, or as C, which the suffix names.

        The file says how inputs are prepared and what classes are called, as far as the card
        does, and PATH.json beside it says it too.

        Args:
            path: A file ending in .onnx, .xml (OpenVINO), .nir or .c (C99, with golden vectors in
                the folder .golden beside it); Spike2Former has .onnx and .c alone.
            size: Height and width of the inputs; the network's largest size if omitted.
            frames: Take frames [B, T, C, H, W], such as those of events, instead of images
                [B, C, H, W].
            photo_input: Take photos as they are decoded, uint8 [B, H, W, C], and normalise them in
                the file; ONNX and OpenVINO, of a network that knows how (`card`).

        Returns:
            The path.

        Raises:
            UserError: If the suffix is unknown or the runtime could not be exact; says why.
        """
        from spikesight.deployment.export.exporting import export

        size = size or self.graph.max_size
        return export(
            self.graph, Path(path), size, frames=frames, photo_input=photo_input, card=self.card
        )

    def _only(self, run: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor) -> Tensor:
        if len(self.graph.outputs) > 1:
            raise UserError(
                f"the network has {len(self.graph.outputs)} outputs, as segmenters have; use "
                f"{run.__name__}(x)"
            )
        (logits,) = run(x)
        return logits

    def _taken(self, x: Tensor) -> Tensor:
        x = as_batch(x)
        self.check(x)
        largest = _largest(x)
        if not math.isfinite(largest):
            require_finite(x)
        image = self.graph.input
        grid = image.high * 2.0**-image.shift
        if largest > _FAR_BEYOND * grid:
            warnings.warn(
                f"the inputs reach {largest:.4g} and the network clips them at {grid:.4g}; pass "
                "inputs normalised like those that it was deployed with",
                stacklevel=3,
            )
        return x

    def check(self, x: Tensor) -> None:
        """Raises UserError when the network cannot take an input."""
        image = self.graph.input
        check_input(tuple(x.shape), image.steps, image.channels, image.stride)
        self.graph.check_size(*x.shape[-2:])


def _largest(x: Tensor) -> float:
    """The largest magnitude; not finite where a value is not."""
    if not x.numel():
        return 0.0
    # By NumPy: PyTorch's threads would go on spinning, on the cores that libspk wants.
    values = x.detach().to("cpu", torch.float32).numpy()
    return max(abs(float(values.min())), abs(float(values.max())))
