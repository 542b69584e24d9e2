"""What only some calls need is imported by them."""

import importlib
import json
import pickle
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import spikesight

TORCH = ["torch", "numpy", "timm", "torchvision"]
HEAVY = [
    "torchvision",
    "torch._dynamo",
    "timm",
    "accelerate",
    "sklearn",
    "scipy",
    "matplotlib",
    "tensorboard",
    "huggingface_hub",
    "PIL",
]


def run(code: str) -> str:
    """What a fresh Python prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported(code: str) -> set[str]:
    """The modules of a fresh Python after some code."""
    end = "\nimport json, sys\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    modules: list[str] = json.loads(run(code + end).splitlines()[-1])
    return set(modules)


def test_the_overview_imports_nothing_of_weight() -> None:
    calls = "main([]), main(['--help']), main(['--version']), main(['nonsense'])"
    modules = imported(f"from spikesight.commands.parser import main\n{calls}")
    assert modules.isdisjoint([*TORCH, *HEAVY, "jsonargparse"])


def test_the_help_of_a_command_imports_nothing_of_weight() -> None:
    code = (
        "from spikesight.commands.parser import COMMANDS, main\n"
        "for name in COMMANDS: assert main([name, '--help']) == 0\n"
        "assert main(['train', 'nowhere.yaml']) == 2"
    )
    assert imported(code).isdisjoint([*TORCH, *HEAVY])


def test_a_model_needs_torch_alone() -> None:
    code = (
        "import sys, spikesight as ss\n"
        "ss.__version__, dir(ss)\n"
        f"assert not set({[*TORCH, *HEAVY]}) & set(sys.modules)\n"
        "ss.create_model('metaspikformer_nano')\n"
        "ss.create_model('spike_fpn_nano', num_classes=5)\n"
        "ss.load, ss.unroll, ss.verify, ss.quantize, ss.stream, ss.trace\n"
        "ss.deploy, ss.audit, ss.energy, ss.load_official, ss.losses.SegmentationLoss\n"
        "from spikesight.commands.parser import main\n"
        "assert main(['models', 'spikformer_nano']) == 0"
    )
    modules = imported(code)
    assert "torch" in modules
    assert modules.isdisjoint(HEAVY)


@pytest.mark.parametrize("imports", ["import spikesight, timm", "import timm, spikesight"])
def test_timm_knows_the_models(imports: str) -> None:
    code = (
        f"{imports}\n"
        "assert type(timm.create_model('spikformer_nano')).__name__ == 'Spikformer'\n"
        "print(timm.list_models('metaspikformer*') == spikesight.list_models('metaspikformer*'))\n"
        "print(timm.list_models('*spikformer_nano', module='registry'))\n"
        "@spikesight.register_model\n"
        "def added(**_): return 1\n"
        "print(timm.is_model('added'), spikesight.list_models('added'))"
    )
    assert run(code).splitlines() == [
        "True",
        "['metaspikformer_nano', 'spikformer_nano']",
        "True ['added']",
    ]


def test_no_module_hides_a_public_name() -> None:
    packages = [spikesight]
    for found in pkgutil.walk_packages(spikesight.__path__, "spikesight."):
        if found.name != "spikesight.__main__":
            module = importlib.import_module(found.name)
            packages += [module] if found.ispkg else []
    for package in packages:
        for name in getattr(package, "__all__", ()):
            value = getattr(package, name)
            if isinstance(value, ModuleType):
                assert f"{package.__name__}.{name}" == value.__name__
                assert package.__name__ == "spikesight.models"
    for name in spikesight.__all__:
        assert callable(getattr(spikesight, name))


def test_star_and_submodules() -> None:
    code = (
        "import spikesight\n"
        "print(spikesight.losses.Segments.__name__, spikesight.data.events.Events.__name__)\n"
        "space = {}\n"
        "exec('from spikesight import *', space)\n"
        "print(set(spikesight.__all__) == set(space) - {'__builtins__'})"
    )
    assert run(code).splitlines() == ["Segments Events", "True"]


def test_public_names_pickle() -> None:
    for name in spikesight.__all__:
        value = getattr(spikesight, name)
        assert pickle.loads(pickle.dumps(value)) is value
