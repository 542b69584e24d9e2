"""A runtime of an exported network that is compared with the integers before it answers."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spikesight.deployment.export.exactness import ExportError
from spikesight.deployment.export.self_test import KEY, SelfTest
from spikesight.deployment.runtime.arithmetic import joined
from spikesight.deployment.runtime.integers import Counts
from spikesight.processor import processor_name

Image = npt.NDArray[np.float32 | np.uint8]


class ProvedRuntime(ABC):
    """Answers nothing unless its self-test passes, with its threads and for the very batch.

    A form that fails the self-test is replaced by the next one, and a warning says so.

    Args:
        model: The model or its file.
        threads: Threads of one call; the runtime's choice if omitted.
        forms: The model's own form and what may run instead.
        fall_back: Whether another form than the model's own may run.

    Attributes:
        RUNTIME: Name of the runtime.
        form: What runs now.
        fell_back: Whether that is another form than the model's own.

    Raises:
        ExportError: If no form is exact on this machine.
        UserError: If the file's self-test is damaged.
    """

    RUNTIME: ClassVar[str]
    form: str
    _logits: list[str]

    def __init__(
        self, model: object, threads: int | None, *, forms: tuple[str, ...], fall_back: bool
    ) -> None:
        self._file = str(model) if isinstance(model, str | Path) else ""
        self._threads = threads
        self.fell_back = False
        self.form, *others = forms
        self._fall_backs = others if fall_back else []
        self._self_test: SelfTest | None = None
        self._proved: set[int] = set()

    def __call__(self, x: Tensor) -> Tensor:
        """Integer logits [B, K], int32, of normalised images or frames."""
        return self.observe(x)[1]

    def observe(self, x: Tensor) -> tuple[Counts, Tensor]:
        """Runs the model.

        Args:
            x: Normalised images [B, C, H, W], frames [B, T, C, H, W] or photos, uint8
                [B, H, W, C], as it was exported for.

        Returns:
            The counts of every neuron, time-major [T*B, ...], if exported with `observe`; and the
            integer logits [B, K], int32, those of several outputs in one row.

        Raises:
            ExportError: If no form of the model is exact on this machine.
        """
        self._prove(len(x))
        return self._compute(x)

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Integer logits of each output by its name, int32, in the model's order.

        Raises:
            ExportError: If no form of the model is exact on this machine.
        """
        self._prove(len(x))
        counts = self._run(x)
        return {name: counts[name] for name in self._logits}

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, (C, H, W) or (T, C, H, W); of a photo (H, W, C)."""

    @property
    @abstractmethod
    def reads_photos(self) -> bool:
        """Whether inputs are photos, uint8 [B, H, W, C]."""

    @abstractmethod
    def metadata(self, key: str) -> str | None:
        """What the model carries under a key."""

    def _start(self, batch: int) -> None:
        """Compiles the first form and proves it for calls of so many inputs."""
        self._compile()
        written, shape = self._described()
        if written is not None:
            self._self_test = SelfTest.read(written, shape, self._file or "the model")
        elif self._file:
            warnings.warn(
                f"{self._file} carries no self-test, so nothing shows that {self.RUNTIME} computes "
                "it exactly on this machine; export it again",
                stacklevel=4,
            )
        self._prove(batch)

    def _prove(self, batch: int) -> None:
        test = self._self_test
        if test is None or batch in self._proved or batch < 1:
            return
        while differing := test.count_differing(lambda x: self._compute(x)[1], batch):
            self._fall_back(f"{differing} of {len(test.answers)}", batch)
        self._proved.add(batch)

    def _fall_back(self, share: str, batch: int) -> None:
        name = Path(self._file).name or "the model"
        where = "" if self._threads is None else f"threads={self._threads}, "
        fault = (
            f"{self.RUNTIME} computes other logits than the integer network for {share} test "
            f"inputs of {name} in its {self.form} form ({processor_name()}, {where}batch {batch})"
        )
        if not self._fall_backs:
            raise ExportError(
                f"{fault}; export it again here, or run the deployed network in PyTorch"
            )
        self.form = self._fall_backs.pop(0)
        self.fell_back = True
        self._proved.clear()
        self._compile()
        warnings.warn(f"{fault}; its {self.form} form runs instead, slower", stacklevel=5)

    def _described(self) -> tuple[str | None, tuple[int, ...]]:
        """The self-test that the model carries, or None, and the shape of one input."""
        return self.metadata(KEY), self.shape

    @abstractmethod
    def _compile(self) -> None:
        """Prepares the form that `form` names."""

    @abstractmethod
    def _run(self, x: Tensor) -> dict[str, Tensor]:
        """All that the model returns, by name."""

    def _compute(self, x: Tensor) -> tuple[Counts, Tensor]:
        """Is `observe`, whether proved or not."""
        counts = self._run(x)
        return counts, joined(tuple(counts.pop(name) for name in self._logits))


def as_image(x: Tensor) -> Image:
    """Inputs as the runtimes read them."""
    dtype = x.dtype if x.dtype == torch.uint8 else torch.float32
    image: Image = np.ascontiguousarray(x.detach().cpu().to(dtype).numpy())
    return image
