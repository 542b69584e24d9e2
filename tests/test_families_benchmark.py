"""The table of all families."""

from __future__ import annotations

from pathlib import Path

import torch

import spikesight as ss
from tests.benchmark_scripts import load_script
from tests.registered_models import NANO

families = load_script("families")


def line(row: str, seed: int, top1: float, **figures: str) -> dict[str, str]:
    empty = dict.fromkeys((*families._DEPLOYED, "firing_rate"), "")
    common = {"row": row, "seed": str(seed), "settings": "short", "date": "2026-11-30"}
    return empty | common | {"top1": str(top1)} | figures


def test_no_family_of_classifiers_is_forgotten() -> None:
    with torch.device("meta"):
        built = {name: ss.create_model(name) for name in NANO}
    classifiers = {name for name, model in built.items() if isinstance(model, ss.Classifier)}
    assert classifiers == set(families.FAMILIES)


def test_a_family_stands_beside_its_twin(tmp_path: Path) -> None:
    (name, title), *_ = families.FAMILIES.items()
    figures = {"parameters": "1000", "integers_ms": "0.5", "firing_rate": "0.1", "paper_uj": "2"}
    results = [
        *(line(name, seed, 60.0 + seed, **figures) for seed in (0, 1)),
        *(line(f"{name}, {families.TWIN}", seed, 61.0 + seed) for seed in (0, 1)),
    ]
    text = families.page(results)
    assert f"| {title} (`{name}`) | 1,000 | 60.50 | 61.50 | -1.00 ± 0.00 | open (2 of 5" in text
    assert text.count("not run") == len(families.FAMILIES) - 1


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    page = tmp_path / "families.md"
    families.main(["--table", f"--output={tmp_path}", f"--write={page}"])
    assert "Nothing is measured yet." in page.read_text()
