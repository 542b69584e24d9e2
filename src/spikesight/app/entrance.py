"""Lets computations run until the page is closed, which waits for those that have begun."""

from __future__ import annotations

import threading
from types import TracebackType


class Entrance:
    """Counts who is within; a thread that still computed when Python ends would abort it.

    As a context it lets its body run; `closed` says whether the body should not begin.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._within = 0
        self.closed = False

    def __enter__(self) -> Entrance:
        with self._changed:
            self._within += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._within -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Lets nobody begin any more, and waits for those within."""
        with self._changed:
            self.closed = True
            self._changed.wait_for(lambda: not self._within)
