"""Freed memory is kept for the next step."""

import os
import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource
from spikesight.training.freed_memory import keep_freed_memory, return_blocks_at_once
assert {function}() is {done}
import torch
for _ in range(10):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def new_pages(function: str, done: bool, **environment: str) -> int:
    environment = {**os.environ, **environment}
    command = [sys.executable, "-c", _FAULTS.format(function=function, done=done)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_tensor_lies_where_the_last_one_lay() -> None:
    assert new_pages("keep_freed_memory", True) < 1000
    assert new_pages("return_blocks_at_once", True) > 10_000
    assert new_pages("keep_freed_memory", False, MALLOC_TRIM_THRESHOLD_="131072") > 10_000
