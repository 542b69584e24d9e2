"""The decisions of the CIFAR-10 recipe, each of which can be taken back."""

from argparse import Namespace
from pathlib import Path

import pytest

from spikesight.training.runs.preparation import build_model
from tests.benchmark_scripts import load_script

SCRIPT = load_script("cifar10_recipe")


@pytest.mark.parametrize("row", SCRIPT.ROWS)
def test_each_row_is_a_run_of_as_many_images(row: str, tmp_path: Path) -> None:
    options = Namespace(images=1024, data="cifar-10-batches-py")
    config = SCRIPT.configuration(SCRIPT.ROWS[row], 3, options, tmp_path)
    assert config.limit_batches * config.batch_size == 1024
    assert config.seed == 3
    assert config.data.format == "cifar10"
    model, _ = build_model(config, 10, 3)
    usual, _ = build_model(
        SCRIPT.configuration(SCRIPT.ROWS["the recipe"], 3, options, tmp_path), 10, 3
    )
    same = [p.shape for p in model.parameters()] == [p.shape for p in usual.parameters()]
    assert same == (row not in ("narrow stem", "stem of Spikformer V2", "no transformer block"))
