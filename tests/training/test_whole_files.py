"""A crash never leaves a half-written checkpoint."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

from spikesight.errors import UserError
from spikesight.files.replacing import write_text
from spikesight.training.runs.storage import (
    read_state,
    recover_folder,
    replaced_folder,
    write_state,
)


class Crash(BaseException):
    """Stands for the end of the process: nothing may catch it."""


def write(folder: Path, content: str) -> None:
    with replaced_folder(folder) as new:
        (new / "a").write_text(content)
        (new / "b").write_text(content)


def read(folder: Path) -> set[str]:
    contents = {path.name: path.read_text() for path in folder.iterdir()}
    assert contents.keys() == {"a", "b"}
    return set(contents.values())


@pytest.mark.parametrize("crash_at", [0, 1, 2, 3])
def test_crash_while_replacing_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    folder = tmp_path / "last"
    write(folder, "old")
    calls = []

    def crashing(name: str, original: object) -> object:
        def call(*args: object, **kwargs: object) -> object:
            calls.append(name)
            if len(calls) == crash_at + 1:
                raise Crash
            return original(*args, **kwargs)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crashing("replace", Path.replace))
        patch.setattr(
            "spikesight.training.runs.storage.shutil.rmtree",
            crashing("rmtree", __import__("shutil").rmtree),
        )
        with pytest.raises(Crash):
            write(folder, "new")
    assert read(recover_folder(folder)) in ({"old"}, {"new"})
    write(folder, "newer")
    assert read(folder) == {"newer"}
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_crash_while_writing_the_new_folder_keeps_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    write(folder, "old")

    def write_half() -> None:
        with replaced_folder(folder) as new:
            (new / "a").write_text("new")
            raise Crash

    with pytest.raises(Crash):
        write_half()
    assert read(folder) == {"old"}


def test_crash_while_writing_text_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.csv"
    write_text(path, "old")

    def crash(descriptor: int) -> None:
        raise Crash

    monkeypatch.setattr("spikesight.files.replacing.os.fsync", crash)
    with pytest.raises(Crash):
        write_text(path, "new")
    assert path.read_text() == "old"


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.floats(width=32, allow_nan=False), max_size=4).map(torch.tensor)
)
states = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers(0, 9) | st.text("abc/", max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(left: object, right: object) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return left == right


@settings(deadline=None, max_examples=100)
@given(state=st.dictionaries(st.text("xyz/", max_size=3), states, max_size=3))
def test_state_survives_writing(tmp_path_factory: pytest.TempPathFactory, state: object) -> None:
    folder = tmp_path_factory.mktemp("state")
    assert isinstance(state, dict)
    write_state(folder, "training", state)
    assert same(read_state(folder, "training"), state)


def test_damaged_state_is_named(tmp_path: Path) -> None:
    write_state(tmp_path, "training", {"a": torch.ones(2)})
    (tmp_path / "training.json").write_text('["dict", [["a", {"__tensor__": "b"}]]')
    with pytest.raises(ValueError, match=r"training\.json: is no JSON .*; start again"):
        read_state(tmp_path, "training")
    for skeleton, problem in (
        ('["dict", [["a", {"__tensor__": "b"}]]]', "does not say how"),
        ('["dict", [["a", {"__tensor__": ["a"]}]]]', "does not say how"),
        ('["dict", [["a"]]]', "does not say how"),
        ('["set", []]', "does not say how"),
        ('{"__tensor__": "a"}', "has no fields"),
        ('["dict", []]', "a is not in training.json"),
        ("[" * 100_000, "is nested deeper"),
    ):
        (tmp_path / "training.json").write_text(skeleton)
        with pytest.raises(UserError, match=rf"training\..*{problem}.*; start again"):
            read_state(tmp_path, "training")
    (tmp_path / "training.safetensors").write_bytes(b"no tensors")
    (tmp_path / "training.json").write_text('["dict", [["a", 1]]]')
    with pytest.raises(UserError, match=r"training\.safetensors is damaged"):
        read_state(tmp_path, "training")
    (tmp_path / "training.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"training\.safetensors is missing"):
        read_state(tmp_path, "training")
