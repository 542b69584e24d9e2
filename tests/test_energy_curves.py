"""Accuracy against energy: what the benchmark makes of what it measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spikesight.costs.cost_models import FOR_EVERY_FORM
from spikesight.costs.forms import SPIKES
from spikesight.training import TrainConfig, train
from tests.benchmark_scripts import load_script

curves = load_script("energy_curves")


def row(value: float, cost: float, bits: int = 8) -> Any:
    forms = {form.key: cost for form in curves.FORMS}
    costs = dict.fromkeys(FOR_EVERY_FORM, forms)
    return curves.Row("twin", "net", "as it is", 4, bits, "top1", value, 0.2, costs, "2026-11-30")


def test_the_front_holds_what_no_other_beats_in_both() -> None:
    good, cheap, beaten = row(90.0, 4.0), row(88.0, 1.0), row(87.0, 2.0)
    assert curves.front([good, beaten, cheap], "memory", SPIKES) == [cheap, good]


def test_the_cheapest_within_a_point_of_the_best_is_chosen() -> None:
    best, enough, poor = row(90.0, 4.0), row(89.0, 2.0), row(88.9, 1.0)
    assert curves.chosen([best, enough, poor], "memory", SPIKES) is enough


def test_beaten_figures_are_not_bold() -> None:
    text = curves.page([row(90.0, 4.0), row(87.0, 5.0, bits=4)])
    assert "**4.0**" in text
    assert "**5.0**" not in text


def test_networks_of_different_twins_are_not_compared() -> None:
    text = curves.page([row(90.0, 4.0), replace(row(60.0, 5.0), group="other", figure="mIoU")])
    assert "**4.0**" in text
    assert "**5.0**" in text
    assert text.index("## twin") < text.index("## other")


def test_a_network_is_trained_under_prices_deployed_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = TrainConfig.load(
        Path("configs/fashion_mnist_nano.yaml"),
        model={"levels": 2, "arguments": {"widths": [8, 8, 16, 16, 16], "depths": [0, 1, 0, 1, 0]}},
        data={"format": "digits", "path": "", "image_size": 16},
        output=str(tmp_path / "twin" / "run"),
        epochs=1,
        limit_batches=2,
        batch_size=16,
    )
    train(run)
    page = tmp_path / "curves.md"
    words = ["--prices=movement", "--weights=8", "--limit=1", "--images=8", f"--write={page}"]
    curves.main([str(tmp_path / "curves"), str(tmp_path / "twin" / "run"), *words])
    text = page.read_text()
    assert text.count("| as it is |") == text.count("| movement, weight 8 |") == 2
    assert (tmp_path / "curves" / "twin" / "run" / "movement_8" / "done").is_file()
    assert (tmp_path / "curves_twin.svg").is_file()
    capsys.readouterr()
    curves.main([str(tmp_path / "curves"), str(tmp_path / "twin" / "run"), *words])
    assert "Row(" not in capsys.readouterr().out
