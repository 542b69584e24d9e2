"""The .spk file: a deployed network in one safetensors file; reading it runs no code in it.

The tensors are the packed weights (a bit stream, uint8) and the other integers in the smallest
dtype that holds them, each named node.field. The metadata hold "format", "version", "graph" (the
nodes as JSON) and "sha256", the checksum of all bytes of the file with its own digits as zeros;
and, where it is known, "card": how inputs are prepared and what the classes are called (the
content of run.json), which the network itself does not depend on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from spikesight.deployment.spk.check import InvalidNetworkError, check_network
from spikesight.deployment.spk.nodes import (
    DAMAGED,
    FaultError,
    build,
    describe,
    parse,
    refuse_version,
    short,
)
from spikesight.errors import UserError
from spikesight.files.opening import open_regular, read_at_most
from spikesight.files.replacing import replaced_file
from spikesight.graph import integer_vocabulary as integer

T = TypeVar("T")
SPK_VERSION = 1

_FORMAT = "spikesight.spk"
_DIGEST_KEY = b'"sha256":"'
_NO_DIGEST = "0" * 64
_DTYPES = {
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float32: "F32",
}
_MOST_FILE_BYTES = 2**30
_MOST_HEADER_BYTES = 2**22
_KEYS = {"format", "version", "graph", "sha256"}
_ENTRY_KEYS = {"dtype", "shape", "data_offsets"}


class SpkError(UserError):
    """A .spk file is damaged, hostile, of a newer version or cannot be written."""


def write_spk(graph: integer.Graph, path: str | Path, card: str | None = None) -> None:
    """Writes a network as one file, which takes the place of an older one whole or not at all.

    Equal networks with equal cards give equal bytes.

    Args:
        graph: The network.
        path: The file; its folder must exist.
        card: What run.json says of its inputs and classes, if it is known.

    Raises:
        SpkError: If the network is not one that `read_spk` would accept; says why.
    """
    path = Path(path)
    try:
        data = _encode(graph, card)
        _read(data)
    except FaultError as fault:
        raise SpkError(f"{path} was not written: {fault.problem}; deploy the model again") from None
    with replaced_file(path) as new:
        new.write_bytes(data)


def encode_spk(graph: integer.Graph) -> bytes:
    """The bytes of a file, for a reader that checks them itself.

    Args:
        graph: The network.

    Raises:
        SpkError: If the network has no such form; says why.
    """
    try:
        return _encode(graph, None)
    except FaultError as fault:
        raise SpkError(f"the network has no form as a file: {fault.problem}") from None


def _encode(graph: integer.Graph, card: str | None) -> bytes:
    text, tensors = describe(graph)
    data = _wrap(text, tensors, card)
    _check_size(len(data))
    return data


def read_spk(path: str | Path) -> integer.Graph:
    """Reads a network and proves that it is one: its checksum, every field and all ranges.

    Args:
        path: The file.

    Returns:
        The network, tensors on the CPU: weights int8, rounding float32, all others int64.

    Raises:
        FileNotFoundError: If there is no such file.
        SpkError: If the file is damaged, hostile or of a newer version; says what is wrong.
    """
    return read_spk_and_card(path)[0]


def read_spk_and_card(path: str | Path) -> tuple[integer.Graph, str | None]:
    """What `read_spk` and `read_spk_card` give, read and checked once."""
    return _read_file(Path(path), _read)


def read_spk_card(path: str | Path) -> str | None:
    """What a .spk file says of its inputs and classes, as run.json does.

    Args:
        path: The file.

    Returns:
        The text; None if the file was written without.

    Raises:
        FileNotFoundError: If there is no such file.
        SpkError: If the file is damaged, hostile or of a newer version; says what is wrong.
    """
    return _read_file(Path(path), lambda data: _unwrap(data)[2])


def _read_file(path: Path, read: Callable[[bytes], T]) -> T:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; pass the path of a .spk file")
    try:
        if not path.is_file():
            raise FaultError("it is not a file", "pass the path of a .spk file")
        with open_regular(path, SpkError) as file:
            _check_size(os.fstat(file.fileno()).st_size)
            return read(read_at_most(file, _MOST_FILE_BYTES))
    except FaultError as fault:
        raise SpkError(f"{path} cannot be read: {fault}") from None


def _check_size(size: int) -> None:
    if size > _MOST_FILE_BYTES:
        raise FaultError(f"it is larger than {_MOST_FILE_BYTES} bytes, as no .spk file is")


def _read(data: bytes) -> tuple[integer.Graph, str | None]:
    text, tensors, card = _unwrap(data)
    graph = build(text, tensors)
    try:
        check_network(graph)
    except InvalidNetworkError as error:
        raise FaultError(str(error)) from None
    return graph, card


def _wrap(text: str, tensors: dict[str, Tensor], card: str | None) -> bytes:
    """The bytes of a safetensors file; the library's own order of metadata is random."""
    metadata = {
        "format": _FORMAT,
        "version": str(SPK_VERSION),
        "graph": text,
        "sha256": _NO_DIGEST,
    }
    if card is not None:
        metadata["card"] = card
    header: dict[str, object] = {"__metadata__": metadata}
    parts: list[bytes] = []
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].element_size()):
        array = tensor.contiguous().numpy()
        parts.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        end = position + len(parts[-1])
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    data = len(encoded).to_bytes(8, "little") + encoded + b"".join(parts)
    at, digest = _checksum(data, len(encoded))
    return data[:at] + digest.encode() + data[at + len(digest) :]


def _unwrap(data: bytes) -> tuple[str, dict[str, Tensor], str | None]:
    """The JSON text, the tensors and the card of a file that is whole."""
    if not data:
        raise FaultError("it is empty", DAMAGED)
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8 or size > _MOST_HEADER_BYTES:
        raise FaultError("its header is cut off, damaged or not that of a .spk file", DAMAGED)
    try:
        header = parse(data[8 : 8 + size].decode())
    except (ValueError, RecursionError):
        raise FaultError("its header is damaged or not that of a .spk file", DAMAGED) from None
    metadata = header.pop("__metadata__", None) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != _FORMAT:
        raise FaultError("it is not a .spk file or its header is damaged", DAMAGED)
    version = metadata.get("version")
    if version != str(SPK_VERSION):
        refuse_version(version, SPK_VERSION)
    at, digest = _checksum(data, size)
    if data[at : at + len(digest)] != digest.encode():
        raise FaultError("its checksum differs: it is damaged or cut off", DAMAGED)
    card = metadata.get("card")
    if metadata.keys() - {"card"} != _KEYS or not isinstance(card, str | None):
        raise FaultError(f"its metadata are {short(sorted(metadata))}")
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.get("dtype") not in _DTYPES.values():
            raise FaultError(f"tensor {short(name)} has no dtype of a .spk file")
        if entry.keys() != _ENTRY_KEYS:
            raise FaultError(f"tensor {short(name)} has the fields {short(sorted(entry))}")
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, RuntimeError, TypeError) as error:
        # The latter two are torch's, for an empty tensor with a side beyond 64 bits.
        raise FaultError(f"it is no valid safetensors file ({error})") from None
    return metadata["graph"], tensors, card


def _checksum(data: bytes, header_size: int) -> tuple[int, str]:
    """Where the checksum's digits are, and what they should be."""
    body = 8 + header_size
    at = data.find(_DIGEST_KEY, 8, body) + len(_DIGEST_KEY)
    end = at + len(_NO_DIGEST)
    if data.count(_DIGEST_KEY, 8, body) != 1 or end > body:
        raise FaultError("it has no checksum", DAMAGED)
    view = memoryview(data)
    checksum = hashlib.sha256(view[:at])
    checksum.update(_NO_DIGEST.encode())
    checksum.update(view[end:])
    return at, checksum.hexdigest()
