"""Precision is what the device computes, decided once and kept."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from spikesight.training import Card, TrainConfig, Trainer, precision as precisions, train
from spikesight.training.runs.checkpoint import RunState
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.tasks.options import ValidationOptions
from spikesight.training.tasks.validation import validate

Build = Callable[..., TrainConfig]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _fresh_warning() -> Iterator[None]:
    precisions._warn.cache_clear()
    yield
    precisions._warn.cache_clear()


def machine(monkeypatch: pytest.MonkeyPatch, *units: str) -> None:
    """Lets this machine's CPU be one with some units."""
    capabilities: dict[str, Any] = {"avx2": True, **dict.fromkeys(units, True)}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)


@pytest.mark.parametrize(
    ("units", "chosen"),
    [((), "no"), (("avx512_f",), "no"), (("amx_bf16",), "bf16"), (("avx512_bf16",), "bf16")],
)
def test_auto_is_what_the_cpu_computes(
    units: tuple[str, ...], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, *units)
    assert precisions.choose_precision("auto", CPU) == chosen
    assert build_accelerator("auto", "cpu").mixed_precision == chosen
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert precisions.choose_precision("auto", CPU) == "no"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX")
    assert precisions.choose_precision("auto", CPU) == chosen


def test_a_run_says_and_records_its_precision(
    tiny: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch)
    result = train(tiny(epochs=1, limit_batches=1, precision="auto", schedule__warmup_epochs=0))
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith("precision no (float32), as this CPU does not compute bf16")
    for part in ("best", "last"):
        assert Card.read(result.folder / part).precision == "no"
        assert json.loads((result.folder / part / "run.json").read_text())["precision"] == "no"
    assert TrainConfig.load(result.folder / "config.yaml").precision == "auto"


def test_a_run_goes_on_in_the_precision_that_it_began_in(
    tiny: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, "amx_bf16")
    config = tiny(epochs=1, limit_batches=1, precision="auto", schedule__warmup_epochs=0)
    folder = train(config).folder
    assert RunState.read(folder / "last").precision == "bf16"
    machine(monkeypatch)
    capsys.readouterr()
    trainer = Trainer(replace(config, resume=True, epochs=2))
    assert trainer.accelerator.mixed_precision == "bf16"
    assert "began in precision bf16 and goes on in it" in capsys.readouterr().out
    assert Trainer(replace(config, resume=True, epochs=2, precision="bf16"))
    with pytest.raises(ValueError, match="precision changed"):
        Trainer(replace(config, resume=True, epochs=2, precision="no"))


def test_emulated_bf16_warns_with_the_measured_factor(
    tiny: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(monkeypatch)
    monkeypatch.setattr(precisions, "measure_slowdown", lambda *_: 6.04)
    folder = train(tiny(epochs=1, limit_batches=2, schedule__warmup_epochs=0)).folder
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        options = ValidationOptions(batch_size=8, precision="bf16", limit_batches=1, device="cpu")
        for _ in range(2):  # one warning is enough
            validate(folder, options)
    (record,) = caplog.records
    assert "about 6 x slower here than float32; pass precision=auto" in record.getMessage()
    machine(monkeypatch, "avx512_bf16")
    precisions._warn.cache_clear()
    build_accelerator("bf16", "cpu")
    assert len(caplog.records) == 1


def test_the_factor_is_measured_without_drawing_a_number() -> None:
    before = torch.get_rng_state()
    assert precisions.measure_slowdown(torch.bfloat16, CPU) > 0
    assert torch.equal(before, torch.get_rng_state())
