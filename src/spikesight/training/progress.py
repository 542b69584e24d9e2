"""What a person sees while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_STATUS_SECONDS = 10.0  # shortest time between two lines of status


class ProgressReport:
    """Shows how far a run is and how well it goes; this one nothing, as in helper processes."""

    def start(self, total: int, done: int) -> None:
        """Begins a run of `total` updates, `done` of which lie behind."""

    def start_epoch(self, name: str, total: int, done: int) -> None:
        """Begins an epoch of `total` updates, `done` of which lie behind."""

    def update(self, status: str) -> None:
        """One update is done; `status` says the live figures."""

    def message(self, text: str) -> None:
        """A line that stays on the screen."""

    def stop(self) -> None:
        """Ends the display."""


class PlainReport(ProgressReport):
    """Plain lines, for logs: messages, and the status at most every few seconds.

    Args:
        console: Where the lines go.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def start(self, total: int, done: int) -> None:
        """See ProgressReport."""
        self._total, self._done, self._first = total, done, done
        self._began = self._shown = time.monotonic()

    def start_epoch(self, name: str, total: int, done: int) -> None:
        """See ProgressReport."""
        self._name, self._epoch_total, self._epoch_done = name, total, done

    def update(self, status: str) -> None:
        """See ProgressReport."""
        self._done += 1
        self._epoch_done += 1
        now = time.monotonic()
        if now - self._shown >= _STATUS_SECONDS:
            self._shown = now
            remaining = (
                (now - self._began) / (self._done - self._first) * (self._total - self._done)
            )
            self.message(
                f"{self._name} {self._epoch_done}/{self._epoch_total}  {status}  "
                f"run {100 * self._done / self._total:.0f} %, {format_duration(remaining)} to go"
            )

    def message(self, text: str) -> None:
        """See ProgressReport."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)


class _BarsAndStatus(Progress):
    """Progress bars with a line of text below them."""

    status = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.status)


class LiveReport(ProgressReport):
    """Two progress bars, the run above the epoch, and the live figures below.

    Args:
        console: A terminal.
    """

    def __init__(self, console: Console) -> None:
        self._progress = _BarsAndStatus(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=600,
        )
        self._epoch: TaskID | None = None

    def start(self, total: int, done: int) -> None:
        """See ProgressReport."""
        self._run = self._progress.add_task("run", total=total, completed=done)
        self._progress.start()

    def start_epoch(self, name: str, total: int, done: int) -> None:
        """See ProgressReport."""
        if self._epoch is not None:
            self._progress.remove_task(self._epoch)
        self._epoch = self._progress.add_task(name, total=total, completed=done)

    def update(self, status: str) -> None:
        """See ProgressReport."""
        assert self._epoch is not None
        self._progress.update(self._run, advance=1)
        self._progress.update(self._epoch, advance=1)
        self._progress.status = status

    def message(self, text: str) -> None:
        """See ProgressReport."""
        self._progress.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def stop(self) -> None:
        """See ProgressReport."""
        self._progress.stop()


def build_report(main_process: bool) -> ProgressReport:
    """Bars on a terminal, lines in a log, nothing in helper processes."""
    if not main_process:
        return ProgressReport()
    console = Console()
    return LiveReport(console) if console.is_terminal else PlainReport(console)


def format_duration(seconds: float) -> str:
    """Seconds as "42 s", "12 min" or "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
