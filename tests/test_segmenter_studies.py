"""The segmenter's ablation and the price of its multiplications, with a few updates."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import spikesight as ss
from spikesight.training.feasibility import check_feasible
from tests.benchmark_scripts import load_script
from tests.data.segmentation import layouts

SHORT = ["--height=48", "--epochs=2", "--batch-size=2"]
STUDIES = ("ablation_segmenter", "multiplication_free")


@pytest.mark.parametrize("name", STUDIES)
def test_every_row_can_be_built_and_is_asked_for(name: str, tmp_path: Path) -> None:
    study, runs = load_script(name), load_script("street_runs")
    options = runs.street_parser("", str(tmp_path), study.ROWS).parse_args([])
    folders = set()
    for row, fields in study.ROWS.items():
        model = fields if name == "ablation_segmenter" else {"arguments": fields}
        config = runs.configuration(row, model, 0, options)
        folders.add(config.output)
        built = config.model
        ss.create_model(
            built.name,
            num_classes=11,
            neuron=built.neuron,
            levels=built.levels,
            steps=built.steps,
            **built.arguments,
        )
    assert len(folders) == len(study.ROWS)
    asked = {row for q in study.QUESTIONS for row in (q.row, q.reference)}
    assert asked == set(study.ROWS)


def test_every_help_of_the_queries_is_asked_for_and_can_be_carried_out(tmp_path: Path) -> None:
    study, runs = load_script("query_helps"), load_script("street_runs")
    options = runs.street_parser("", str(tmp_path), study.ROWS).parse_args([])
    folders = set()
    for row, fields in study.ROWS.items():
        further = dict(fields)
        config = runs.configuration(row, further.pop("model", {}), 0, options, further)
        folders.add(config.output)
        check_feasible(config, filled=True)
    assert len(folders) == len(study.ROWS)
    assert {row for q in study.QUESTIONS for row in (q.row, q.reference)} == set(study.ROWS)


def test_a_help_is_measured_with_averaged_weights(tmp_path: Path) -> None:
    study = load_script("query_helps")
    photos = layouts.folder(tmp_path / "camvid", (0, 4, 10, 11))
    row = "query k for class k, pixel heads, denoised queries"
    study.main([*SHORT, f"--output={tmp_path}", f"--data={photos}", "--seeds", "0", "--only", row])
    (measured,) = load_script("paired").read(tmp_path / "results.csv")
    assert 0 <= float(measured["averaged_miou"]) <= 100


def test_segmenters_are_compared_over_one_trunk_at_several_lengths(tmp_path: Path) -> None:
    study = load_script("segmenters_fairly")
    trial = ["--trunk-epochs=1", "--limit-batches=2", "--seeds", "0", f"--output={tmp_path}"]
    for length in ("2", "1"):
        words = [*trial, "--sets", "digits", "--lengths", length]
        study.main(
            [*words, "--only", *(("Spike2Former", "SpikeFPN") if length == "1" else ("SpikeFPN",))]
        )
    assert [folder.name for folder in (tmp_path / "trunks").iterdir()] == ["digits_ni_lif"]
    results = load_script("paired").read(tmp_path / "results.csv")
    assert [(line["settings"], line["row"]) for line in results] == [
        ("digits, 2 epochs", "SpikeFPN"),
        ("digits, 1 epochs", "Spike2Former"),
        ("digits, 1 epochs", "SpikeFPN"),
    ]
    page = tmp_path / "page.md"
    study.main(["--table", f"--output={tmp_path}", f"--write={page}"])
    assert page.read_text().index("`digits, 1 epochs`") < page.read_text().index(
        "`digits, 2 epochs`"
    )
    assert "| digits, 1 epochs |" in page.read_text()


@pytest.mark.parametrize("name", ["camvid", "pets", "digits"])
def test_segmenters_of_all_photos_can_be_built(name: str, tmp_path: Path) -> None:
    study = load_script("segmenters_fairly")
    options = study._parser().parse_args([f"--output={tmp_path}"])
    for row in study.ROWS:
        config = study.configuration(row, name, 10, 0, options)
        check_feasible(config, filled=False)
        trunk = study.trunk_configuration(row, name, options)
        assert trunk.output == config.model.weights
        check_feasible(trunk, filled=False)


@pytest.mark.parametrize(
    ("name", "row"), [("ablation_segmenter", "I-LIF"), ("multiplication_free", "shifts")]
)
def test_runs_are_not_repeated(
    name: str, row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study: ModuleType = load_script(name)
    output = f"--output={tmp_path}"
    photos = layouts.folder(tmp_path / "camvid", (0, 4, 10, 11))
    words: list[Any] = [*SHORT, output, f"--data={photos}", "--seeds", "0", "--only", row]
    study.main(words)
    read = load_script("paired").read
    (measured,) = read(tmp_path / "results.csv")
    assert 0 <= float(measured["miou"]) <= 100
    assert 0 < float(measured["last_rate"]) < 1
    page = tmp_path / "page.md"
    study.main([*words, f"--write={page}"])
    assert read(tmp_path / "results.csv") == [measured]
    assert f"| {row} | {float(measured['miou']):.2f} |" in page.read_text()
    if name == "multiplication_free":
        assert "| ordinary | bilinear sampling |" in page.read_text()
        assert "| multiplication-free | none |" in page.read_text()
