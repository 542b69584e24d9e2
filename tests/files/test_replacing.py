"""A full disk leaves what was there, and the message says which file it was."""

import os
from pathlib import Path

import pytest
import torch

import spikesight as ss
from spikesight.errors import FileError
from spikesight.files.replacing import write_text
from spikesight.training.runs.storage import replaced_folder, write_state
from tests.training.conftest import TINY

resource = pytest.importorskip("resource")


def test_a_full_disk_is_named_and_old_files_stay(tmp_path: Path) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=2, **TINY["model"]["arguments"])
    folder, note = tmp_path / "model", tmp_path / "note.txt"
    model.save_pretrained(folder)
    write_text(note, "old")
    old = {path.name: path.read_bytes() for path in folder.iterdir()}

    def write_whole() -> None:
        with replaced_folder(folder) as new:
            write_state(new, "training", {"a": torch.ones(10_000)})

    # Files of this process can get no larger; Python ignores the signal.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for write, named in (
            (lambda: model.save_pretrained(folder), folder / "model.safetensors"),
            (write_whole, folder),
            (lambda: write_text(note, "x" * 2000), note),
        ):
            with pytest.raises(FileError) as caught:
                write()
            assert str(caught.value).startswith(f"{named}: cannot be written (")
            assert "make room on the disk" in str(caught.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == old
    assert note.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["model", "note.txt"]


def test_new_files_have_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "note.txt", "text")
        ss.create_model("metaspikformer_nano", **TINY["model"]["arguments"]).save_pretrained(
            tmp_path / "model"
        )
        (tmp_path / "run").mkdir()
        write_state(tmp_path / "run", "state", {"a": torch.ones(1)})
    finally:
        os.umask(before)
    files = ("note.txt", "model/config.json", "model/model.safetensors", "run/state.safetensors")
    for file in files:
        assert (tmp_path / file).stat().st_mode & 0o777 == 0o640, file


def test_a_file_and_the_folder_that_lists_it_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda opened: synced.append(os.fstat(opened).st_ino))
    write_text(tmp_path / "note.txt", "text")
    assert synced == [path.stat().st_ino for path in (tmp_path / "note.txt", tmp_path)]
    synced.clear()
    with replaced_folder(tmp_path / "run") as new:
        (new / "a").write_text("a")
    folder = tmp_path / "run"
    assert synced == [path.stat().st_ino for path in (folder / "a", folder, tmp_path)]
