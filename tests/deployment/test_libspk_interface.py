"""The interface as docs/libspk.md calls it from C, Rust and Node, and streams of time steps."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.deployment.spk.file import encode_spk
from spikesight.native import library, spk
from tests.conftest import wake
from tests.deployment.native_forms import needs_libspk
from tests.pages import blocks

pytestmark = needs_libspk

ROOT = Path(__file__).parents[2]
_MODULES = ROOT / "node_modules"
_INCLUDE = ROOT / "native" / "libspk" / "include"


def shown_in(language: str) -> str:
    """The example of the page in a programming language."""
    page = (ROOT / "docs" / "libspk.md").read_text(encoding="utf-8")
    (source,) = [text for of, text in blocks(page) if of == language]
    return source


def _deployed(steps: int = 1) -> tuple[ss.Deployed, Tensor]:
    torch.manual_seed(0)
    model = ss.create_model(
        "metaspikformer_nano", num_classes=5, in_channels=2, neuron="lif", steps=steps
    )
    x = torch.randn(2, steps, 2, 16, 16) * 2
    wake(model, x)
    return ss.deploy(model, x), x


@pytest.mark.skipif(not _INCLUDE.is_dir(), reason="an installed package")
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_the_example_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "example.c").write_text(shown_in("c"), encoding="utf-8")
    found = Path(library.__file__).parent / library.file_name("spk")
    words = ["cc", "-std=c99", "-Wall", "-Werror", f"-I{_INCLUDE}", "example.c", str(found)]
    words += [f"-Wl,-rpath,{found.parent}", "-o", "example"]
    subprocess.run(words, cwd=tmp_path, check=True)
    net, _ = _deployed()
    net.save(tmp_path / "net.spk")
    shown = subprocess.run(
        ["./example", "net.spk"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    stride = net.graph.input.stride
    assert list(map(int, shown.split())) == net(torch.zeros(1, 2, stride, stride))[0].tolist()


def net_of_photos(folder: Path) -> list[int]:
    """Saves the network that the Rust and Node examples open; its logits of a dark photo."""
    torch.manual_seed(0)
    model = ss.create_model("metaspikformer_nano", num_classes=10)
    x = torch.randn(4, 3, 32, 32)
    wake(model, x)
    net = ss.deploy(model, x)
    net.save(folder / "net.spk")
    found = Path(library.__file__).parent / library.file_name("spk")
    for name in ("libspk.so.1", "libspk.so"):
        shutil.copy(found, folder / name)
    logits: list[int] = net(torch.zeros(1, 3, 32, 32))[0].tolist()
    assert len(set(logits)) > 5
    return logits


@pytest.mark.skipif(sys.platform != "linux", reason="the example names Linux's library")
@pytest.mark.skipif(shutil.which("rustc") is None, reason="there is no Rust compiler")
def test_the_rust_example_of_the_page(tmp_path: Path) -> None:
    main = 'fn main() { println!("{:?}", logits(&[0.0; 3 * 32 * 32], 32, 10)); }'
    (tmp_path / "example.rs").write_text(f"{shown_in('rust')}\n{main}\n", encoding="utf-8")
    logits = net_of_photos(tmp_path)
    words = ["rustc", "--edition=2021", "-L.", "-lspk", "-Clink-arg=-Wl,-rpath,.", "example.rs"]
    built = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True)
    if "C-string literals" in built.stderr or "linker `cc` not found" in built.stderr:
        pytest.skip("Rust 1.77 or later and a linker are needed")
    assert built.returncode == 0, built.stderr
    shown = subprocess.run(["./example"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert json.loads(shown.stdout) == logits


@pytest.mark.skipif(sys.platform != "linux", reason="the example names Linux's library")
@pytest.mark.skipif(
    shutil.which("node") is None or not (_MODULES / "koffi").is_dir(),
    reason="there is no Node or no koffi (`npm install --no-save koffi` in the checkout)",
)
def test_the_node_example_of_the_page(tmp_path: Path) -> None:
    told = "console.log(JSON.stringify(Array.from(logits)));"
    (tmp_path / "example.mjs").write_text(f"{shown_in('js')}\n{told}\n", encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(_MODULES)
    logits = net_of_photos(tmp_path)
    shown = subprocess.run(
        ["node", "example.mjs"], cwd=tmp_path, check=True, capture_output=True, text=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )  # fmt: skip
    assert json.loads(shown.stdout) == logits


class _Stream:
    """A session that goes one time step at a time."""

    def __init__(self, net: ss.Deployed, kernels: str) -> None:
        found = spk.library()
        assert found is not None
        self.library = found
        data = encode_spk(net.graph)
        self.network, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        assert found.spk_read(data, len(data), ctypes.byref(self.network)) == 0
        options = spk.Options(batch=2, height=16, width=16, kernels=kernels.encode())
        self.check(
            found.spk_prepare(self.network, ctypes.byref(options), ctypes.byref(self.session))
        )
        found.spk_state_size.restype = ctypes.c_size_t

    def check(self, status: int) -> None:
        if status:
            raise ValueError(self.library.spk_last_error().decode())

    def step(self, frame: Tensor) -> Tensor:
        logits = torch.empty(2, 5, dtype=torch.int32)
        frame, address = frame.contiguous(), ctypes.c_void_p(logits.data_ptr())
        image = ctypes.c_void_p(frame.data_ptr())
        self.check(self.library.spk_step(self.session, image, ctypes.byref(address)))
        return logits

    def save(self) -> bytearray:
        state = bytearray(self.library.spk_state_size(self.session))
        place = (ctypes.c_char * len(state)).from_buffer(state)
        self.check(self.library.spk_save_state(self.session, place))
        return state

    def load(self, state: bytes) -> None:
        size = ctypes.c_size_t(len(state))
        self.check(self.library.spk_load_state(self.session, bytes(state), size))

    def close(self) -> None:
        self.library.spk_release(self.session)
        self.library.spk_close(self.network)


@pytest.fixture(params=spk.kernels())
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[_Stream, _Stream, ss.Deployed, Tensor]]:
    net, x = _deployed(steps=3)
    streams = _Stream(net, request.param), _Stream(net, "reference")
    yield *streams, net, x
    for stream in streams:
        stream.close()


Pair = tuple[_Stream, _Stream, ss.Deployed, Tensor]


def test_a_stream_sums_what_a_call_gives_and_moves_between_kernels(pair: Pair) -> None:
    stream, other, net, x = pair
    for step in range(2):
        stream.step(x[:, step])
    state = stream.save()
    other.load(state)
    assert torch.equal(stream.step(x[:, 2]), net(x))
    assert torch.equal(other.step(x[:, 2]), net(x))
    assert stream.save() == other.save()
    with pytest.raises(ValueError, match="made its 3 time steps; call spk_reset first"):
        stream.step(x[:, 0])


def test_states_that_no_inputs_lead_to_are_refused(pair: Pair) -> None:
    stream, other, net, x = pair
    other.step(x[:, 0])
    state = other.save()
    with pytest.raises(ValueError, match="of another network, batch or size"):
        stream.load(state[:-4])
    wide = state.copy()
    wide[20:24] = (2**31 - 1).to_bytes(4, "little")
    late = state.copy()
    late[4:8] = (4).to_bytes(4, "little")
    for damaged in (wide, late):
        with pytest.raises(ValueError, match="no inputs lead to it"):
            stream.load(damaged)
    stream.load(state)
    for step in (1, 2):
        logits = stream.step(x[:, step])
    assert torch.equal(logits, net(x))
