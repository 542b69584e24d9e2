"""A model and a neuron in one file of a user's, in Python and in every command."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import spikesight as ss
from spikesight import parts, registry
from spikesight.commands.parser import main
from spikesight.errors import UserError
from spikesight.training import TrainConfig, train
from spikesight.training.config import ModelConfig

NET = """
import spikesight as ss
from spikesight.models.base import GlobalPool, Presentation, Readout
from spikesight.neurons import ILIF, create_neuron
from spikesight.synapses import ConvNorm, Linear


class EasyILIF(ILIF):
    def __init__(self, steps=1, levels=4, threshold=0.5):
        super().__init__(steps, levels, threshold=threshold, retain=0.75)


class TwoLayers(ss.SpikingModel):
    def __init__(self, num_classes, in_channels, steps, levels, neuron):
        super().__init__()
        self.steps, self.stride = steps, 4
        self.presentation = Presentation(steps, in_channels, 4)
        self.stem = ConvNorm(in_channels, 16, 3, stride=2)
        self.neuron1 = create_neuron(neuron or "easy_i_lif", steps, levels)
        self.layer = ConvNorm(16, 16, 3, stride=2)
        self.neuron2 = create_neuron(neuron or "easy_i_lif", steps, levels)
        self.pool, self.head, self.readout = GlobalPool(), Linear(16, num_classes), Readout(steps)

    def forward(self, x):
        x = self.layer(self.neuron1(self.stem(self.presentation(x))))
        return self.readout(self.head(self.pool(self.neuron2(x))))

    def stages(self):
        return [self.stem, self.layer, self.head]


@ss.register_model
def two_layers_KEY(
    num_classes=10, in_channels=3, steps=1, levels=None, neuron=None, drop_path_rate=0.0
):
    return TwoLayers(num_classes, in_channels, steps, levels, neuron)
"""


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of a name of its own, forgotten after the test; the test runs beside it."""
    key = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]
    file = tmp_path / f"own_net_{key}.py"
    file.write_text(NET.replace("KEY", key))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(parts, "_parts", dict(parts._parts))
    monkeypatch.setattr(parts, "_imported", [])
    for known in ("_builders", "_families", "_trunk_options"):
        monkeypatch.setattr(registry, known, dict(getattr(registry, known)))
    yield file
    sys.modules.pop(file.stem, None)


def _name(file: Path) -> str:
    return file.stem.replace("own_net", "two_layers")


def _forget(file: Path) -> None:
    """As in a new process."""
    sys.modules.pop(file.stem, None)
    registry._builders.pop(_name(file), None)
    parts._parts.clear()
    parts._imported.clear()


def _config(file: Path) -> str:
    return f"""
imports: [{file.name}]
output: run
epochs: 1
limit_batches: 3
batch_size: 16
device: cpu
precision: "no"
data: {{format: digits}}
model: {{name: {_name(file)}, steps: 2, neuron: easy_i_lif, neuron_arguments: {{threshold: 0.75}}}}
"""


def test_every_command_knows_an_own_file(
    own_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("net.yaml").write_text(_config(own_file))
    own = f"--import={own_file.name}"
    assert main([own, "models", "two_layers*"]) == 0
    assert _name(own_file) in capsys.readouterr().out
    assert main(["train", "net.yaml", "--model.neuron_arguments.threshold=0.5"]) == 0
    recipe = json.loads(Path("run/best/config.json").read_text())
    assert recipe["arguments"]["neuron_arguments"] == {"threshold": 0.5}
    assert {part["kind"] for part in recipe["parts"]} == {"model", "neuron"}
    digest = hashlib.sha256(own_file.read_bytes()).hexdigest()
    assert {(part["file"], part["sha256"]) for part in recipe["parts"]} == {(own_file.name, digest)}
    for words in (
        ["val", "run"],
        ["verify", "run", "--images=4"],
        ["energy", "run", "--images=4"],
        ["audit", "run", "--images=4"],
        ["quantize", "run", "four_bits", "--images=32", "--accuracy=false"],
        ["deploy", "run", "net.spk"],
        ["convert", "run", "small", "--half"],
    ):
        _forget(own_file)
        assert main(words) == 2, words
        said = "".join(capsys.readouterr().err.split())
        assert f"--import{own_file.name}" in said, words
        assert main([*words, "--import", own_file.name]) == 0, words
    Image.new("L", (28, 28)).save("digit.png")
    assert main([own, "predict", "run", "digit.png", "--output=guesses.csv"]) == 0
    _forget(own_file)
    assert main(["verify", "net.spk", "--run=run", "--images=2"]) == 0  # needs no file of the user


def test_a_run_goes_on_from_its_config_yaml(own_file: Path) -> None:
    Path("net.yaml").write_text(_config(own_file).replace(f"imports: [{own_file.name}]\n", ""))
    assert main(["train", "net.yaml", "--import", own_file.name]) == 0
    assert own_file.name in TrainConfig.load("run/config.yaml").imports
    _forget(own_file)
    assert main(["train", "run/config.yaml", "--resume", "--epochs=2"]) == 0
    _forget(own_file)
    train(TrainConfig.load("run/config.yaml", output="again", resume=False))
    assert Path("again/best/config.json").is_file()


def test_loading_says_what_is_missing_and_imports_nothing(own_file: Path) -> None:
    parts.import_part(own_file.name)
    model = ss.create_model(_name(own_file), num_classes=3, steps=2, levels=4).eval()
    model.save_pretrained("saved")
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(ss.load("saved")(x), model(x))
    _forget(own_file)
    with pytest.raises(UserError, match=rf"--import {own_file.name}, or write import"):
        ss.load("saved")
    assert own_file.stem not in sys.modules
    own_file.write_text(own_file.read_text() + "\n# changed\n")
    importlib.invalidate_caches()
    parts.import_part(own_file.name)
    with pytest.warns(UserWarning, match=r"sha256 .*but the one imported now"):
        assert torch.equal(ss.load("saved")(x), model(x))


def test_folders_without_parts_name_the_option(own_file: Path) -> None:
    parts.import_part(own_file.name)
    ss.create_model(_name(own_file), num_classes=3).save_pretrained("saved")
    recipe = json.loads(Path("saved/config.json").read_text())
    del recipe["parts"]
    Path("saved/config.json").write_text(json.dumps(recipe))
    _forget(own_file)
    with pytest.raises(UserError, match="pass --import with the file that registers it"):
        ss.load("saved")


def test_classes_in_a_configuration_become_names(own_file: Path) -> None:
    parts.import_part(own_file.name)
    module = sys.modules[own_file.stem]
    wanted = ModelConfig("metaspikformer_nano", neuron=module.EasyILIF)
    assert wanted.neuron == "easy_i_lif"
    with pytest.raises(UserError, match="register_neuron"):
        ModelConfig("metaspikformer_nano", neuron=lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.py", None, "there is no file missing.py"),
        ("no_such_module_here", None, "cannot be imported: ModuleNotFoundError"),
        ("broken_part_x.py", "x = 1\ny = undefined\n", "NameError.*broken_part_x.py, line 2"),
        ("json.py", "x = 1\n", "is the name of another module"),
        ("a.b.py", "x = 1\n", "rename it"),
        ("", None, "--import needs a value"),
    ],
)
def test_imports_that_fail_say_why(
    own_file: Path, name: str, content: str | None, said: str
) -> None:
    if content is not None:
        Path(name).write_text(content)
    with pytest.raises(UserError, match=said):
        parts.import_part(name)


def test_a_fault_in_an_own_part_is_not_called_spikesights(own_file: Path) -> None:
    text = own_file.read_text().replace("x = self.layer(", "x = self.lost(")
    own_file.write_text(text)
    Path("net.yaml").write_text(_config(own_file))
    with pytest.raises(AttributeError, match="lost") as said:
        main(["train", "net.yaml"])
    assert said.value.__notes__[-1].startswith(f"This arose in your own {own_file.name}, line ")


def test_names_in_snake_case() -> None:
    names = ["SlowILIF", "LIF", "PLIF", "MyNeuron", "LIFWithNoise", "build_fast", "NILIF2"]
    wanted = ["slow_i_lif", "lif", "p_lif", "my_neuron", "lif_with_noise", "build_fast", "ni_lif_2"]
    assert [parts.own_name(name) for name in names] == wanted


def test_entry_points_of_installed_packages(own_file: Path) -> None:
    package = own_file.parent / "site"
    (package / "offered_parts-1.0.dist-info").mkdir(parents=True)
    (package / "offered_parts-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: offered-parts\nVersion: 1.0\n"
    )
    (package / "offered_parts-1.0.dist-info" / "entry_points.txt").write_text(
        "[spikesight.parts]\nnets = offered_net\nbroken = no_such_net\n"
    )
    (package / "offered_net.py").write_text(NET.replace("KEY", "offered"))
    code = (
        f"import sys; sys.path.append({str(package)!r})\n"
        "from spikesight.commands.parser import main\n"
        "sys.exit(main(['models', 'two_layers_offered']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "two_layers_offered" in done.stdout
    assert "offered-parts cannot be imported" in "".join(done.stderr)


def test_a_file_with_a_dot_in_its_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my.net.py").write_text("x = 1\n")
    with pytest.raises(UserError, match=r"my\.net\.py.*no module's name has a dot; rename it"):
        parts.import_part(str(tmp_path / "my.net.py"))
