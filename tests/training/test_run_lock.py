"""Two processes never train into one folder, and a killed one blocks nobody."""

import os
import signal
from pathlib import Path

import pytest

from spikesight.errors import UserError
from spikesight.training.runs.lock import LOCK, locked

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="asks another process by fork")


def in_another_process(folder: Path) -> str:
    """What another process that wants the folder is told; empty if it gets it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with locked(folder):
                told = ""
        except UserError as error:
            told = str(error)
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    told = os.read(reading, 10_000).decode()
    os.close(reading)
    os.waitpid(child, 0)
    return told


def test_the_second_process_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "run"
    with locked(folder):
        (folder / "config.yaml").write_text("")
        told = in_another_process(folder)
        assert f"output {folder} is in use by process {os.getpid()}; wait until" in told
    assert in_another_process(folder) == ""
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]


def test_nothing_is_left_where_nothing_came_of_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "runs" / "run"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="is or lies below a file; pass a folder"):
            locked(folder).__enter__()


def test_a_killed_process_blocks_nobody(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with locked(tmp_path):
            os.write(writing, b"1")
            signal.pause()
    os.read(reading, 1)
    with pytest.raises(UserError, match=f"in use by process {child}"):
        locked(tmp_path).__enter__()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / LOCK).exists()
    assert in_another_process(tmp_path) == ""
