"""Builds what a release is made of, installs the wheel alone and uses it from an empty folder.

    python tests/release_check.py                          # with this Python
    python tests/release_check.py python3.12 python3.13    # with others
    python tests/release_check.py --wheel dist/spikesight-0.2.0-py3-none-any.whl

Everything is installed from the package index, PyTorch too (5 GB for each Python). To work on this
script, `--borrow VENV/lib/python3.11/site-packages` takes all but spikesight from there;
what says that an extra is missing is left out then.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CTRL_C = 128 + signal.SIGINT
WRITE_PHOTOS = """
import numpy, pathlib, PIL.Image
noise = numpy.random.default_rng(0)
pathlib.Path("photos").mkdir()
for number in range(8):
    image = PIL.Image.fromarray(noise.integers(0, 256, (12, 15, 3), numpy.uint8))
    image.resize((320, 256), PIL.Image.Resampling.BICUBIC).save(f"photos/{number}.jpg")
line = numpy.zeros((60, 60), numpy.uint8)
line[10:50, 27:33] = 255
PIL.Image.fromarray(line).save("one.png")
pathlib.Path("film.mp4").write_bytes(b"no film")
"""
WHERE = "import importlib.resources as r, spikesight; print(r.files('spikesight') / 'py.typed')"
LOAD = "import spikesight as ss; print(type(ss.load('nuclei_mask_rcnn_nano')).__name__)"


@dataclass(frozen=True)
class Step:
    """A command of somebody who has just installed spikesight, and what it says.

    Attributes:
        words: The command; `python` and `spikesight` are those of the new environment.
        says: A pattern that must be found in its output.
        code: Its exit code.
    """

    words: tuple[str, ...]
    says: str
    code: int = 0


def lacks(extra: str, *words: str) -> Step:
    """A command that needs an extra, which is not there."""
    return Step(words, rf"pip install 'spikesight\[{extra}\]'", 2)


def steps(version: str, demo: tuple[str, ...]) -> list[Step]:
    """What a user does first, from an empty folder."""
    cells = ("bccd_nano_4bit", "photos")
    few = ("--objects.scenes=8", "--objects.validation_scenes=4", "--objects.workers=0")
    quick = ("--epochs=1", "--batch_size=4", *few, "--output=boxes")
    return [
        Step(("spikesight", "--help"), "recipes"),
        Step(("spikesight", "--version"), rf"^{re.escape(version)}$"),
        Step(("python", "-c", WHERE), r"site-packages.spikesight.py\.typed"),
        Step(("python", "-c", WRITE_PHOTOS), ""),
        Step(("python", "-c", LOAD), ""),
        Step(("spikesight", "models", "*_nano"), "metaspikformer_nano"),
        Step(("spikesight", "recipes"), r"cifar10_tiny_4bit[\s\S]*nuclei_mask_rcnn_nano"),
        Step(("spikesight", "train", "cifar10_tny"), "near: cifar10_tiny", 2),
        Step(("spikesight", "train", "digit_scenes_boxes", *quick), "AP"),
        Step(("spikesight", "predict", *cells, "--output=cells"), ""),
        Step(("spikesight", "predict", "nuclei_mask_rcnn_nano", "photos", "--output=nuclei"), ""),
        Step(("spikesight", "energy", "bccd_nano_4bit", "--photos=photos", "--images=2"), "J"),
        Step(("spikesight", "deploy", "bccd_nano_4bit", "cells.spk", "--photos=photos"), ""),
        Step(("spikesight", "verify", "cells.spk", "--photos=photos", "--images=2"), r"\b0\b"),
        Step(("spikesight", "predict", "cells.spk", "photos", "--output=found"), ""),
        Step(("spikesight", "export", "cells.spk", "cells.c"), ""),
        Step(("spikesight", "predict", "digits_nano", "one.png", "--output=read.png"), r"\b1\b"),
        Step(("spikesight", "deploy", "digits_nano", "digits.spk"), "0 mismatches"),
        Step(("spikesight", "predict", "digits.spk", "one.png", "--output=read.png"), r"\b1\b"),
        Step(("spikesight", "predict", "fashion_mnist_nano", "one.png", "--output=worn.png"), ""),
        Step(("spikesight", "deploy", "fashion_mnist_nano", "fashion.spk"), "0 mismatches"),
        Step(("spikesight", "saccades", "recordings", "--size=16", "--limit=8"), "8 recordings"),
        Step(("spikesight", "predict", "digits_events_nano", "recordings"), "npz"),
        Step(("spikesight", "deploy", "digits_events_nano", "events.spk"), "0 mismatches"),
        lacks("deploy", "spikesight", "export", "cells.spk", "cells.onnx"),
        lacks("deploy", "spikesight", "export", "cells.spk", "cells.xml"),
        lacks("deploy", "spikesight", "export", "cells.spk", "cells.nir"),
        lacks("video", "spikesight", "predict", "bccd_nano_4bit", "film.mp4", "--output=film"),
        lacks("app", "spikesight", "app"),
        Step(("spikesight", "demo", *demo), "report"),
    ]


def main() -> None:
    """Builds, installs, runs; ends with exit code 1 at the first step that goes wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("pythons", nargs="*", default=[sys.executable], metavar="PYTHON")
    parser.add_argument("--wheel", type=Path, help="a wheel that there is, instead of a new one")
    parser.add_argument("--pure", action="store_true", help="build without native kernels")
    parser.add_argument("--quick-demo", action="store_true", help="the demo with one epoch")
    parser.add_argument("--borrow", type=Path, help="site-packages to take the dependencies from")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="release-") as place:
        wheel = (asked.wheel or build(Path(place, "dist"), pure=asked.pure)).resolve()
        version = wheel.name.split("-")[1]
        for number, python in enumerate(asked.pythons):
            print(f"== {wheel.name} on {python}", flush=True)
            scripts = install(Path(place, f"venv{number}"), python, wheel, asked.borrow)
            folder = Path(place, f"empty{number}")
            folder.mkdir()
            for step in steps(version, ("--epochs=1",) if asked.quick_demo else ()):
                if asked.borrow is None or "pip install" not in step.says:
                    run(step, scripts, folder)
            pip(scripts, f"{wheel}[app]", borrowed=asked.borrow is not None)
            show_page(scripts, folder)
    print("all of it works")


def build(folder: Path, *, pure: bool) -> Path:
    """The wheel, made from the source distribution as the index would have it."""
    settings = ["--config-setting=wheel.cmake=false"] if pure else []
    clock = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "build", f"--outdir={folder}", *settings, str(ROOT)], check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    sizes = ", ".join(f"{file.name} {file.stat().st_size / 1e6:.1f} MB" for file in (source, wheel))
    print(f"{sizes} in {time.monotonic() - clock:.0f} s", flush=True)
    return wheel


def install(folder: Path, python: str, wheel: Path, borrow: Path | None) -> Path:
    """The folder of programs of a new environment that has the wheel and what it needs."""
    clock = time.monotonic()
    uv = shutil.which("uv")
    subprocess.run([uv, "venv", "--python", python, folder] if uv else
                   [python, "-m", "venv", folder], check=True)  # fmt: skip
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    if borrow is not None:
        (packages,) = folder.glob("[Ll]ib/**/site-packages")
        (packages / "borrowed.pth").write_text(f"{borrow.resolve()}\n")
    pip(scripts, str(wheel), borrowed=borrow is not None)
    print(f"{time.monotonic() - clock:6.0f} s  installed", flush=True)
    return scripts


def pip(scripts: Path, what: str, *, borrowed: bool) -> None:
    """Installs something in an environment, without what it needs if that is borrowed."""
    uv = shutil.which("uv")
    python = str(scripts / "python")
    installer = (
        [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    )
    subprocess.run([*installer, "--quiet", *["--no-deps"] * borrowed, what], check=True)


def environment_of(scripts: Path) -> dict[str, str]:
    """What programs of a new environment see, and nothing of the checkout."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["PATH"] = f"{scripts}{os.pathsep}{environment['PATH']}"
    return environment


def run(step: Step, scripts: Path, folder: Path) -> None:
    """Runs a step in a folder; ends the script where it goes otherwise than it should."""
    program, *words = step.words
    clock = time.monotonic()
    done = subprocess.run(
        [scripts / program, *words], cwd=folder, env=environment_of(scripts), check=False,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    shown = " ".join(word if len(word) < 60 else "…" for word in step.words)
    print(f"{time.monotonic() - clock:6.1f} s  {shown}", flush=True)
    if done.returncode != step.code or re.search(step.says, done.stdout, re.M) is None:
        print(done.stdout)
        print(f"exit code {done.returncode}; expected {step.code}, and {step.says!r} in the output")
        sys.exit(1)


def show_page(scripts: Path, folder: Path) -> None:
    """Starts the page, asks for it once and ends it as Ctrl+C does."""
    clock = time.monotonic()
    with subprocess.Popen(
        [scripts / "spikesight", "app", "--port=0", "--browser=false"], cwd=folder,
        env=environment_of(scripts), text=True, stdout=subprocess.PIPE,
    ) as page:  # fmt: skip
        try:
            assert page.stdout is not None
            said = page.stdout.readline()
            address = re.search(r"http://\S+", said)
            if address is None:
                sys.exit(f"the page said {said!r} instead of where it is")
            with urllib.request.urlopen(address[0], timeout=60) as answer:
                if "spikesight" not in answer.read().decode():
                    sys.exit(f"what is at {address[0]} is not the page")
            print(f"{time.monotonic() - clock:6.1f} s  spikesight app", flush=True)
        finally:
            page.send_signal(signal.SIGINT)
        if page.wait(timeout=60) != CTRL_C:
            sys.exit(f"the page ended with exit code {page.returncode} instead of {CTRL_C}")


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    main()
