"""Two processes measure what one process measures."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spikesight.training import TrainConfig, train
from spikesight.training.tasks.options import ValidationOptions
from spikesight.training.tasks.validation import validate

from .child import start_pair

Build = Callable[..., TrainConfig]


def test_two_processes_validate_like_one(tiny: Build, tmp_path: Path) -> None:
    result = train(tiny(epochs=2, limit_batches=None, optimizer__lr=0.01))
    alone = validate(result.folder / "best", ValidationOptions(batch_size=50))
    assert alone.top1 > 15, "weights that know nothing would prove nothing"
    assert alone.top1 == result.best.top1
    log = tmp_path / "log"
    words = ["val", str(result.folder / "best"), "--batch_size=50"]
    processes = start_pair(words, log)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    text = log.with_suffix(".0").read_text()
    assert f"top-1 {alone.top1:.2f} %  top-5 {alone.top5:.2f} %" in text
    assert f"loss {alone.loss:.4f}" in text
    assert f"on {alone.images} images" in text
    assert "top-1" not in log.with_suffix(".1").read_text()


def test_two_processes_train_and_agree_with_val(tiny: Build, tmp_path: Path) -> None:
    config = tiny(epochs=2, limit_batches=None, optimizer__lr=0.01)
    path = tmp_path / "config.yaml"
    path.write_text(config.dump())
    processes = start_pair(["train", str(path)], tmp_path / "log")
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    with (Path(config.output) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    alone = validate(Path(config.output) / "last")
    assert alone.top1 == float(rows[-1]["val_top1"])
    assert alone.loss == pytest.approx(float(rows[-1]["val_loss"]), rel=1e-5)
    assert alone.top1 > 15


@pytest.mark.nightly
def test_torchrun(tiny: Build, tmp_path: Path) -> None:
    result = train(tiny(epochs=1, limit_batches=None, optimizer__lr=0.01))
    alone = validate(result.folder)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    command += ["-m", "spikesight.commands.parser", "val", str(result.folder)]
    output = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    assert f"top-1 {alone.top1:.2f} %  top-5 {alone.top5:.2f} %" in output
    match = re.search(r"on (\d+) images", output)
    assert match is not None
    assert int(match[1]) == alone.images
    card = json.loads((result.folder / "best" / "run.json").read_text())
    assert card["metrics"]["images"] == alone.images
