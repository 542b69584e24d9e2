"""What benchmarks/gpu.py does on a device, it can do on a CPU, and it says where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.benchmark_scripts import load_script

ROOT = Path(__file__).parents[1]


def test_the_script_runs_whole(capsys: pytest.CaptureFixture[str]) -> None:
    load_script("gpu").main(["--rehearse", "--json"])
    results = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert results["device"] == "rehearsal on the CPU"
    shipped = {folder.name for folder in (ROOT / "weights").iterdir()}
    assert shipped == results["exact networks"].keys()
    assert {row["case"] for row in results["neurons"]} >= {"lif T=4"}
    assert {row["form"] for row in results["training"]} >= {"ours", "authors_style"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_without_a_device_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        load_script("gpu").main([])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "no CUDA device here: nothing was run\n"
