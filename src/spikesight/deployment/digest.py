"""What names a network in the files that belong to it."""

from __future__ import annotations

import hashlib

from spikesight.deployment.spk.nodes import describe
from spikesight.graph import integer_vocabulary as integer

_SHORT = 16


def full_digest_of(graph: integer.Graph) -> str:
    """A network's digest: SHA-256 over all that defines it, in hexadecimal digits."""
    text, tensors = describe(graph)
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def digest_of(graph: integer.Graph) -> str:
    """The first 16 digits of a network's digest."""
    return full_digest_of(graph)[:_SHORT]
