"""Packages that only some of spikesight needs: an extra brings each, and a message says which."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch

import spikesight as ss
from spikesight.app.serving import serve
from spikesight.data.events.aedat4 import parse_aedat4
from spikesight.data.segmentation.video import read_frames
from spikesight.deployment import ann_runtime
from spikesight.deployment.export.exact_forms import exact_forms
from spikesight.deployment.network import Deployed
from spikesight.training.runs.folder import load_any
from tests.data.events.files import encode_aedat4, random_events
from tests.deployment.small_networks import deployed

# Two of them write the recordings that they are then missed for.
pytest.importorskip("lz4")
pytest.importorskip("zstandard")

PACKAGE = Path(ss.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
# What PyTorch itself brings where it is of use.
WITH_TORCH = {"triton"}
Use = Callable[[Path], object]


def distributions(requirements: list[str]) -> set[str]:
    names = (re.split(r"[\[<>=~ ;]", requirement)[0] for requirement in requirements)
    return {name.lower().replace("_", "-") for name in names} - {"spikesight"}


NEEDED = distributions(PROJECT["project"]["dependencies"])
EXTRAS = {
    name: distributions(packages)
    for name, packages in PROJECT["project"]["optional-dependencies"].items()
}
OPTIONAL = set().union(*EXTRAS.values()) - NEEDED
# Those that a table of names may have imported; tools of developers have other meanings in texts.
BY_NAME = set().union(
    *(names for extra, names in EXTRAS.items() if extra not in ("dev", "bench", "docs"))
)


DISTRIBUTIONS = packages_distributions()


def distribution_of(module: str) -> str:
    """The distribution of a module, as pyproject.toml writes it."""
    (name, *_) = DISTRIBUTIONS.get(module, [module])
    return name.lower().replace("_", "-")


def named_in(file: Path) -> set[str]:
    """Modules that a file imports, and those that it may import by a name in a text."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Constant) and node.value in BY_NAME:
            names.add(str(node.value))
    modules = {name.partition(".")[0] for name in names}
    return modules - sys.stdlib_module_names - {"spikesight", "_typeshed"}


FOUND = {module for file in PACKAGE.rglob("*.py") for module in named_in(file)} - WITH_TORCH
FOUND = {module for module in FOUND if distribution_of(module) not in NEEDED}


def export(ending: str) -> Use:
    def use(folder: Path) -> object:
        return Deployed(deployed(28, neuron="i_lif", levels=4)).export(folder / f"net{ending}")

    return use


def compare(form: str) -> Use:
    def use(_: Path) -> object:
        net = Deployed(deployed(28, neuron="i_lif", levels=4))
        return net.verify(torch.zeros(1, 3, 28, 28), against=(form,))

    return use


def run_file(folder: Path) -> object:
    (folder / "net.onnx").write_text("")
    return load_any(folder / "net.onnx")


def time_forms(_: Path) -> None:
    net = Deployed(deployed(28, neuron="i_lif", levels=4))
    exact_forms(net, torch.zeros(1, 3, 28, 28), 1, simulate=False)


def time_twin(_: Path) -> None:
    twin = ss.create_model("metaspikformer_nano", num_classes=3, neuron="relu")
    ann_runtime.twin_forms(twin, torch.zeros(1, 3, 32, 32), 1)


def time_twin_in_8_bits(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ann_runtime, "convert_ann", lambda *_: None)
        patch.setattr(ann_runtime, "compile_ann", lambda *_: None)
        time_twin(folder)


def read_recording(compression: int) -> Use:
    content = encode_aedat4(random_events(5, 9, 9), compression)
    return lambda _: parse_aedat4(content, "fan.aedat4")


# What needs each of them. A new optional import belongs here, with a use.
USES: dict[str, list[Use]] = {
    "onnx": [export(".onnx"), compare("onnx"), run_file, time_forms],
    "onnxruntime": [export(".onnx"), compare("onnx"), time_forms],
    "openvino": [export(".xml"), compare("openvino"), time_forms, time_twin],
    "nncf": [time_twin_in_8_bits],
    "nir": [export(".nir")],
    "gradio": [lambda _: serve([], "127.0.0.1", 0, browser=False)],
    "av": [lambda folder: next(read_frames(folder / "film.mp4"))],
    "lz4": [read_recording(1)],
    "zstandard": [read_recording(3)],
}


def test_every_import_is_a_dependency_or_of_an_extra() -> None:
    assert {module for module in FOUND if distribution_of(module) not in OPTIONAL} == set()


def test_every_optional_import_has_a_use_here() -> None:
    assert USES.keys() == FOUND


@pytest.mark.parametrize(
    ("module", "number"), [(module, n) for module, uses in USES.items() for n in range(len(uses))]
)
def test_what_lacks_a_package_says_how_to_install_it(
    module: str,
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [*sys.modules, module]:
        if name.partition(".")[0] == module:
            monkeypatch.setitem(sys.modules, name, None)
    try:
        USES[module][number](tmp_path)
        said = capsys.readouterr().out
    except ss.errors.UserError as error:
        said = str(error)
    extras = re.findall(r"pip install 'spikesight\[(\w+)\]'", said)
    assert extras
    assert distribution_of(module) in EXTRAS[extras[0]]
    assert module in said.lower()
