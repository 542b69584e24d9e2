"""Loss, speed and memory of the epoch that goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor

from spikesight.memory import PeakMemory
from spikesight.training.runs.checkpoint import EpochSums
from spikesight.training.runs.processes import total

T = TypeVar("T")


class Meter:
    """Adds up loss, images and time of an epoch, and tells the figures of its last part.

    Args:
        accelerator: Device and processes.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._peak = PeakMemory(accelerator.device)
        self.restart(EpochSums())

    def restart(self, sums: EpochSums) -> None:
        """Begins an epoch, or goes on with one."""
        self.sums = sums
        self._peak.restart()
        self.loss_sum = torch.tensor(
            sums.loss, dtype=torch.float64, device=self._accelerator.device
        )
        self.mark()

    def mark(self) -> None:
        """Begins a part, over whose batches the next figures are taken."""
        self._time, self._images = time.monotonic(), 0
        self._loss, self._batches = float(self.loss_sum), self.sums.batches

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time within as waiting for data."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.sums.waiting += time.monotonic() - began

    def fetched(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches, with the time that each is waited for counted as such."""
        waited = iter(batches)
        while True:
            with self.waiting():
                batch = next(waited, None)
            if batch is None:
                return
            yield batch

    def add(self, loss: Tensor, images: int) -> None:
        """Adds a batch.

        Args:
            loss: Its loss, a scalar; nothing waits for it.
            images: Its images.
        """
        self.loss_sum += loss.detach()
        self.sums.batches += 1
        self.sums.images += images
        self._images += images

    def part(self) -> tuple[float, float]:
        """Mean loss and images per second of the part, which ends."""
        batches = self.sums.batches - self._batches
        elapsed = time.monotonic() - self._time
        loss = (float(self.loss_sum) - self._loss) / max(batches, 1)
        speed = self._images * self._accelerator.num_processes / max(elapsed, 1e-9)
        self.account_time()
        self._loss, self._batches = float(self.loss_sum), self.sums.batches
        return loss, speed

    def account_time(self) -> None:
        """Adds the time since the last call to that of the epoch."""
        now = time.monotonic()
        self.sums.seconds += now - self._time
        self._time, self._images = now, 0

    def totals(self) -> EpochSums:
        """The sums of all processes; time and memory are those of this one."""
        loss, batches, images = total(
            self._accelerator, [self.loss_sum, self.sums.batches, self.sums.images]
        )
        memory = max(self.sums.memory, self._peak.bytes())
        own = self.sums
        return EpochSums(loss, int(batches), int(images), own.seconds, memory, own.waiting)
