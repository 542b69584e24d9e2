"""Ending a run early without losing it."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ECHO_SECONDS = 1.0


class TrainingInterrupted(KeyboardInterrupt):
    """A signal ended the run after a complete checkpoint.

    Attributes:
        signal_number: The signal; shells expect 128 + this as the exit code.
        folder: Folder of the run.
    """

    def __init__(self, signal_number: int, folder: Path) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}; saved in {folder}")
        self.signal_number = signal_number
        self.folder = folder


class StopRequest:
    """Remembers SIGINT and SIGTERM within a with block instead of dying from them.

    A second signal raises KeyboardInterrupt at once. Launchers such as torchrun repeat the signal
    that the terminal already sent to everyone, so an echo within a second does not count.
    In a thread other than the main one nothing can be caught, and nothing is changed.
    """

    def __init__(self) -> None:
        self.signal_number = 0
        self._time = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.signal_number:
            self.signal_number, self._time = number, time.monotonic()
        elif time.monotonic() - self._time > _ECHO_SECONDS:
            raise KeyboardInterrupt
