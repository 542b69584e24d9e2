"""A run in a process of its own, beside this one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from spikesight.training.config import TrainConfig

_SHOWN_LINES = 20


class BackgroundRun:
    """Trains within a with block in another process; leaving the block early stops it.

    Args:
        config: The run.
        threads: Threads that the process may use.
    """

    def __init__(self, config: TrainConfig, threads: int) -> None:
        self.config = config
        self.threads = threads

    def __enter__(self) -> BackgroundRun:
        self._folder = tempfile.TemporaryDirectory(prefix="spikesight-")
        file = Path(self._folder.name) / "config.yaml"
        file.write_text(self.config.dump(), encoding="utf-8")
        self._log = (Path(self._folder.name) / "log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "spikesight.commands.parser", "train", str(file)],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": str(self.threads)},
        )
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._folder.cleanup()

    def wait(self) -> None:
        """Waits for the end of the run.

        Raises:
            RuntimeError: If the run failed; with the last lines that it printed.
        """
        code = self._process.wait()
        if code:
            self._log.seek(0)
            lines = self._log.read().splitlines()[-_SHOWN_LINES:]
            raise RuntimeError(
                f"the run in {self.config.output} ended with code {code}:\n" + "\n".join(lines)
            )
