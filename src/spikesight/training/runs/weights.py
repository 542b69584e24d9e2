"""The weights of a run, as its processes hold them: each all of them, or each its share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from spikesight.models import SpikingModel
from spikesight.training.optimization import EmaConfig, order_moments
from spikesight.training.runs.preparation import prepare
from spikesight.training.runs.processes import share_buffers

Which = Literal["model", "ema"]


class Weights:
    """Every process holds all weights, their average and the optimiser's state.

    Attributes:
        model: The model that learns.
        averages: Whether there is a moving average.

    Args:
        accelerator: The processes.
        model: The model, on its device.
        ema: The average that is kept of it.
    """

    def __init__(self, accelerator: Accelerator, model: SpikingModel, ema: EmaConfig) -> None:
        self.accelerator, self.model = accelerator, model
        self._ema = ema.build(self._averaged())
        self.averages = self._ema is not None

    def _averaged(self) -> nn.Module:
        """What the average is taken of."""
        return self.model

    def average(self) -> Any:
        """The module that holds the average, where there is one."""
        assert self._ema is not None
        return self._ema.module

    def prepare(
        self, optimizer: Optimizer, *, sync_batch_norm: bool
    ) -> tuple[nn.Module, Optimizer]:
        """What is called in training, and the optimiser; see `preparation.prepare`."""
        return prepare(self.accelerator, self.model, optimizer, sync_batch_norm=sync_batch_norm)

    def begin_batch(self) -> None:
        """Is called before each batch's forward pass, within `accelerator.accumulate`."""

    def complete_gradients(self) -> None:
        """Is called when a batch's gradients end an update."""

    def update_average(self, step: int) -> None:
        """Takes the weights of an update into the average."""
        if self._ema is not None:
            self._ema.update(self._averaged(), step=step)

    @contextmanager
    def shown(self, which: Which) -> Iterator[nn.Module]:
        """The model with its own or its averaged weights, to be evaluated.

        Within the with block processes may call it unequally often.
        """
        model: nn.Module = self.model if which == "model" else self.average()
        share_buffers(self.accelerator, model)
        yield model

    def whole(self, which: Which) -> SpikingModel:
        """The model with its own or its averaged weights, complete in the main process."""
        model: SpikingModel = self.model if which == "model" else self.average()
        share_buffers(self.accelerator, model)
        return model

    def average_state(self) -> dict[str, Tensor]:
        """The tensors of the average under the model's names; empty if there is none."""
        return dict(self.average().state_dict()) if self.averages else {}

    def load(self, optimizer: Optimizer, state: dict[str, Any], average: dict[str, Tensor]) -> None:
        """Takes over the state of a run that goes on.

        Args:
            optimizer: The optimiser.
            state: Its state, every tensor whole.
            average: That of the average, whole as well.
        """
        optimizer.load_state_dict(state)
        order_moments(optimizer)
        if self.averages:
            self.average().load_state_dict(average)
