"""What an exported network carries so that any machine can test it: inputs, and their answers.

A runtime fuses operators as the processor, its threads and the batch ask for. What it computes is
therefore compared where it runs, with inputs that a rule of integers makes and digests of the
logits that the integer network gives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spikesight.deployment.export.preparation import normalised
from spikesight.deployment.runtime.arithmetic import joined
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.errors import UserError
from spikesight.graph import integer_vocabulary as integer

KEY = "self_test"
_FEWEST, _MOST = 6, 32
_VALUES = 2**16
_LARGEST_BYTE = 255
_QUARTERS = 4
_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SelfTest:
    """Inputs of one size and the digests of their logits.

    The inputs are noise over the image's whole range with ties between its integers, images that
    saturate at either end, extremes pixel by pixel and in patches, and noise around zero.

    Of a model that reads photos the image's integers are bytes; one of the inputs has each of the
    256 in turn, as far as it has pixels.

    Attributes:
        shape: Of one input, (C, H, W) or (T, C, H, W); of a photo (H, W, C).
        low: The image's smallest integer.
        high: The image's largest integer.
        shift: Bits after the image's binary point.
        answers: Digests of the integer logits, one for each input.
        photos: Whether inputs are photos.
    """

    shape: tuple[int, ...]
    low: int
    high: int
    shift: int
    answers: tuple[str, ...]
    photos: bool = False

    @staticmethod
    def of(
        graph: integer.Graph,
        size: tuple[int, int],
        *,
        frames: bool = False,
        bytes_table: Tensor | None = None,
    ) -> SelfTest:
        """Runs the integer network on the inputs.

        Args:
            graph: The network.
            size: Height and width of the inputs.
            frames: Whether inputs are frames.
            bytes_table: What the network sees of each byte of each channel [C, 256], if inputs are
                photos.
        """
        blank = SelfTest.unanswered(graph, size, frames=frames, photos=bytes_table is not None)
        executor = IntegerExecutor(graph)
        answers: list[str] = []
        for x in blank.inputs().split(max(1, 4 * _VALUES // int(np.prod(blank.shape)))):
            if bytes_table is not None:
                x = normalised(x, bytes_table, graph.input)
            answers += _digests(joined(executor.run(x)))
        return replace(blank, answers=tuple(answers))

    @staticmethod
    def unanswered(
        graph: integer.Graph, size: tuple[int, int], *, frames: bool, photos: bool = False
    ) -> SelfTest:
        """The inputs alone, with empty answers."""
        image = graph.input
        shape = (*([image.steps] if frames else []), image.channels, *size)
        count = min(max(_VALUES // int(np.prod(shape)), _FEWEST), _MOST)
        answers = ("",) * count
        if photos:
            return SelfTest((*size, image.channels), 0, _LARGEST_BYTE, 0, answers, photos)
        return SelfTest(shape, image.low, image.high, image.shift, answers)

    @staticmethod
    def read(text: str, shape: tuple[int, ...], name: str) -> SelfTest:
        """Reads what `text` wrote.

        Args:
            text: The self-test.
            shape: Shape of one input of the model.
            name: The model's, for messages.

        Raises:
            UserError: If it is damaged or is that of another model.
        """
        try:
            fields = json.loads(text)
            test = SelfTest(
                shape=tuple(map(int, fields["shape"])),
                low=int(fields["low"]),
                high=int(fields["high"]),
                shift=int(fields["shift"]),
                answers=tuple(map(str, fields["answers"])),
                photos=fields.get("photos", False) is True,
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"the self-test in {name} is damaged; export it again") from error
        sound = -(2**15) <= test.low < test.high < 2**15 and abs(test.shift) <= 64
        if test.shape != shape or not 1 <= len(test.answers) <= _MOST or not sound:
            raise UserError(f"the self-test in {name} is that of another network; export it again")
        return test

    def text(self) -> str:
        """The self-test as JSON."""
        return json.dumps(asdict(self))

    def inputs(self) -> Tensor:
        """The inputs [N, *shape], float32, or uint8 photos; the same on every machine."""
        quarters = np.stack([self._quarters(index) for index in range(len(self.answers))])
        if self.photos:
            places = np.arange(int(np.prod(self.shape[:2]))).reshape(*self.shape[:2], 1)
            quarters[_FEWEST - 1] = _QUARTERS * (places % (_LARGEST_BYTE + 1))
            values = (quarters // _QUARTERS).clip(0, _LARGEST_BYTE)
            return torch.from_numpy(values.astype(np.uint8))
        return torch.from_numpy(quarters / _QUARTERS * 2.0**-self.shift).to(torch.float32)

    def count_differing(self, run: Callable[[Tensor], Tensor], batch: int) -> int:
        """Inputs whose logits differ.

        Args:
            run: Gives integer logits of inputs.
            batch: Inputs of one call.
        """
        inputs, count = self.inputs(), len(self.answers)
        differing: set[int] = set()
        for start in range(0, count, batch):
            chosen = [index % count for index in range(start, start + batch)]
            digests = _digests(run(inputs[chosen]))
            pairs = zip(chosen, digests, strict=True)
            differing |= {index for index, digest in pairs if digest != self.answers[index]}
        return len(differing)

    def _quarters(self, index: int) -> _Integers:
        """One input in quarters of the image's unit, a little beyond its range."""
        low, high = _QUARTERS * (self.low - 1), _QUARTERS * (self.high + 1)
        noise = _noise(self.shape, index)
        match index % 6:
            case 0:
                return low + noise % (high - low + 1)
            case 1:
                return np.full(self.shape, high)
            case 2:
                return np.where(noise % 2 == 1, low, high)
            case 3:
                patches = np.repeat(np.repeat(noise[..., ::4, ::4], 4, -1), 4, -2)
                patches = patches[..., : self.shape[-2], : self.shape[-1]]
                return np.where(patches % 2 == 1, low, high)
            case 4:
                return noise % (8 * _QUARTERS + 1) - 4 * _QUARTERS
            case _ if index == 5:
                return np.full(self.shape, low)
            case _:
                return (low + noise % (high - low + 1)) // 4


def _noise(shape: tuple[int, ...], seed: int) -> _Integers:
    """Integers from 0 to 2^31 - 1 by a hash of their places."""
    x = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64((seed + 1) << 40)
    for multiplier in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        x = (x ^ (x >> np.uint64(29))) * np.uint64(multiplier)
    return (x >> np.uint64(33)).astype(np.int64).reshape(shape)


def _digests(logits: Tensor) -> list[str]:
    rows = logits.flatten(1).cpu().to(torch.int32).numpy().astype("<i4")
    return [hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in rows]
