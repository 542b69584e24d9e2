"""libspk refuses any bytes or runs them: all kernels alike, under sanitizers, in bounded memory.

By hand, for as long as one likes, clang searches by itself; --parallel needs 1 GB a compiler::

    cmake -S native/libspk -B build/fuzz -DSPK_LIBFUZZER=ON -DCMAKE_CXX_COMPILER=clang++
    cmake --build build/fuzz --target spk-fuzz --parallel 2 && build/fuzz/spk-fuzz CORPUS/
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.deployment.runtime.native import NativeRuntime
from spikesight.deployment.spk.file import SpkError, read_spk, write_spk
from spikesight.native import spk
from tests.deployment.libspk_programs import program
from tests.deployment.spk_files import KINDS, encode, least_file, seal, take_apart
from tests.deployment.test_fuzzed_spk_files import (
    damage_description,
    damage_header,
    damage_tensor,
)
from tests.deployment.test_segmenter_files import network as segmenter, of_pixels


@cache
def bases(folder: Path) -> list[bytes]:
    """Small files with every kind of node."""
    path = folder / "base.spk"
    files = [least_file(kind) for kind in KINDS]
    for net in (segmenter(), segmenter(steps=2), of_pixels()):
        write_spk(net.graph, path)
        files.append(path.read_bytes())
    return files


def mutants(count: int, seed: int, folder: Path) -> Iterator[bytes]:
    """The bases, then files with changes that a fresh checksum hides, deep and shallow."""
    yield from bases(folder)
    generator = random.Random(seed)
    for case in range(count):
        data = bases(folder)[case % len(bases(folder))]
        change = generator.choice(["description", "tensor", "tensor", "header", "bytes"])
        if change == "bytes":
            yield damage_bytes(bytearray(data), generator)
            continue
        parts = take_apart(data)
        for _ in range(generator.choice([1, 1, 1, 2, 3])):
            if change == "description":
                damage_description(parts.description, generator)
            elif change == "tensor":
                damage_tensor(parts, generator)
        header, payload = encode(parts)
        if change == "header":
            damage_header(header, generator)
        yield seal(header, payload)


def damage_bytes(data: bytearray, generator: random.Random) -> bytes:
    for _ in range(generator.choice([1, 1, 2, 8])):
        # Headers deserve as many cases as the longer payload.
        at = generator.randrange(generator.choice([8, len(data) // 4, len(data)]))
        change = generator.choice(["flip", "digit", "cut", "insert"])
        if change == "flip":
            data[at] ^= 1 << generator.randrange(8)
        elif change == "digit":
            data[at] = generator.choice(b'0123456789-.eE"[]{},:\\u ')
        elif change == "cut":
            del data[at : at + generator.choice([1, 1, 8, 100])]
        else:
            data[at:at] = generator.randbytes(generator.choice([1, 1, 8]))
        if not data:
            break
    return bytes(data)


def fuzz(files: Iterator[bytes], folder: Path) -> dict[str, int]:
    """Feeds files to the fuzz target and says what came of them."""
    with subprocess.Popen(
        [program("spk-fuzz")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A file of kilobytes has no business with more memory than this.
        env=os.environ | {"ASAN_OPTIONS": "max_allocation_size_mb=512:hard_rss_limit_mb=2048"},
    ) as process:
        assert process.stdin is not None
        data = b""
        try:
            for data in files:
                process.stdin.write(len(data).to_bytes(8, "little") + data)
            process.stdin.close()
        except BrokenPipeError:
            (folder / "around_the_end.spk").write_bytes(data)
        assert process.stdout is not None
        assert process.stderr is not None
        answer, error = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, error.decode()[-5000:]
    result: dict[str, int] = json.loads(answer)
    return result


@pytest.mark.skipif(spk.library() is None, reason="libspk was not built; make native")
def test_mutants_are_refused_or_run_like_the_integers(tmp_path: Path) -> None:
    path = tmp_path / "mutant.spk"
    runs = 0
    for data in mutants(150, 1, tmp_path):
        path.write_bytes(data)
        try:
            graph = read_spk(path)
        except SpkError:
            continue
        if max(graph.max_size) > 32 or graph.input.steps > 4:
            continue
        x = torch.rand(1, graph.input.channels, *graph.max_size) * 3
        for kernels in ("reference", None):
            own = NativeRuntime(graph, kernels=kernels, prove=False).outputs(x)
            for outputs, expected in zip(own, IntegerExecutor(graph).run(x), strict=True):
                assert torch.equal(outputs, expected)
        runs += 1
    assert runs > 10


@pytest.mark.nightly
def test_20000_mutants_are_refused_or_run_by_all_kernels_alike(tmp_path: Path) -> None:
    result = fuzz(mutants(20_000, 0, tmp_path), tmp_path)
    assert sum(result.values()) == 20_000 + len(bases(tmp_path))
    assert result["run"] > 2000
    assert result["refused"] > 10_000
