"""What names a network in the files that belong to it."""

from __future__ import annotations

import hashlib

from spikesight.deployment.spk.nodes import describe
from spikesight.graph import integer_vocabulary as integer


def digest_of(graph: integer.Graph) -> str:
    """A network's digest: the first 16 hexadecimal digits of SHA-256 over all that defines it."""
    text, tensors = describe(graph)
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
