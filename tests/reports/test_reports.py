from pathlib import Path

import pytest
import torch

import spikesight
from spikesight.costs.models import energy
from spikesight.costs.page import energy_chart, energy_page, energy_text, ratio_text
from spikesight.costs.prices import ACCUMULATE_PJ, MULTIPLY_ACCUMULATE_PJ
from spikesight.costs.report import EnergyReport, LayerEnergy
from spikesight.demo.verification_part import verification_details, verification_sentence
from spikesight.passes import Verification, verify
from spikesight.passes.verification import LayerCheck
from spikesight.reports import Run, training_curves
from tests.reports.reading import Reader, assert_self_contained

SIZES = {"widths": (4, 4, 8, 8, 8), "depths": (0, 1, 0, 1, 0), "heads": 2}


def model(neuron: str) -> spikesight.SpikingModel:
    torch.manual_seed(0)
    built: spikesight.SpikingModel = spikesight.create_model(
        "metaspikformer_nano", num_classes=3, in_channels=1, neuron=neuron, **SIZES
    )
    return built.eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_energy_page_shows_every_layer(images: torch.Tensor, tmp_path: Path) -> None:
    report = energy(model("i_lif"), images)
    report.to_html(tmp_path / "energy.html")
    text = assert_self_contained((tmp_path / "energy.html").read_text(encoding="utf-8")).text
    for layer in report.layers:
        assert layer.name in text
        assert f"{layer.accumulates:,.0f}" in text
    for name, rate in report.firing_rates.items():
        assert name in text
        assert f"{100 * rate:.1f} %" in text
    assert energy_text(report.picojoules) in text
    assert energy_text(report.twin_picojoules) in text
    assert "Not spike-driven: trunk.0.0.conv" in text
    assert "Not counted: memory" in text


def test_energy_page_of_an_ann_speaks_of_no_spikes(images: torch.Tensor) -> None:
    text = assert_self_contained(energy_page(energy(model("relu"), images))).text
    assert "Firing rate per layer" not in text
    assert "Not spike-driven" not in text
    assert "1.0x" in text


def test_energies_in_words() -> None:
    assert energy_text(0.0) == "0.0 pJ"
    assert energy_text(1234.0) == "1.2 nJ"
    assert energy_text(3.92e6) == "3.9 µJ"
    assert energy_text(2.5e10) == "25.0 mJ"


def layer(name: str, macs: float, accumulates: float) -> LayerEnergy:
    return LayerEnergy(name, "synapse", macs, 0.1, 0.4, accumulates, 0.0, accumulates, macs)


def test_ratios_in_words() -> None:
    assert ratio_text(EnergyReport((layer("a", 90.0, 46.0),), 1, {})) == "10.0x less"
    assert ratio_text(EnergyReport((layer("a", 9.0, 92.0),), 1, {})) == "2.0x more"


def test_small_layers_beside_large_ones_are_not_zero() -> None:
    report = EnergyReport((layer("a", 1e6, 1e6), layer("b", 5e3, 5e3)), 1, {})
    text = Reader(energy_chart(report)).text
    assert "900 nJ" in text
    assert "4.5 nJ" in text


def test_verification_in_words(images: torch.Tensor) -> None:
    verification = verify(model("i_lif"), images)
    compared = sum(check.elements for check in verification.layers)
    sentence = verification_sentence(verification)
    assert f"{compared:,} counts" in sentence
    assert "in float64: 0 mismatches" in sentence
    text = Reader(verification_details(verification)).text
    for check in verification.layers:
        assert check.name in text
        assert f"{check.elements:,}" in text


def test_silence_and_mismatches_are_not_hidden() -> None:
    checks = (LayerCheck("one", 10, 2, 1, 1, 0.5), LayerCheck("two", 10, 0, 0, 0, 0.0))
    sentence = verification_sentence(Verification(checks, 0.1, torch.float32))
    assert "in float32: 4 mismatches" in sentence
    assert "1 layers never fired" in sentence
    assert "two" in sentence
    assert "Every layer fired" not in sentence


def write_metrics(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "metrics.csv").write_text(text)
    return folder


def test_curves_leave_out_what_was_not_measured(tmp_path: Path) -> None:
    folder = write_metrics(
        tmp_path / "run", "epoch,train_loss,val_top1\n1,2.0,\n2,1.5,50.0\n3,1.0,75.0\n"
    )
    html = training_curves([Run("net", "spike", folder)])
    accuracy, loss = html.split("<svg")[1:]
    assert accuracy.count("<circle") == 2
    assert loss.count("<circle") == 3
    assert "net, epoch 3: 75 %" in accuracy


def test_curves_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no metrics\.csv; pass the folder of a run"):
        training_curves([Run("net", "spike", tmp_path)])
    folder = write_metrics(tmp_path / "run", "epoch,loss\n1,2.0\n")
    with pytest.raises(ValueError, match="no column val_top1"):
        training_curves([Run("net", "spike", folder)])


@pytest.mark.parametrize("page", ["results.md", "glossary.md"])
def test_the_docs_say_the_prices_that_are_counted(page: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    assert f"{MULTIPLY_ACCUMULATE_PJ} pJ" in text
    assert f"{ACCUMULATE_PJ} pJ" in text
