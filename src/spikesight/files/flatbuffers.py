"""FlatBuffers of strangers: tables, strings and vectors, each read within the bounds of the buffer.

A table begins with the distance back to its list of fields, which holds a place within the table,
or 0, for each; strings and vectors are found by their distance and begin with their length
(flatbuffers.dev, FlatBuffer Internals). All numbers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from spikesight.errors import UserError


@dataclass(frozen=True)
class Table:
    """A table in a buffer.

    Attributes:
        buffer: All that its distances can reach.
        place: Where it begins.
    """

    buffer: bytes
    place: int

    @classmethod
    def root(cls, buffer: bytes, identifier: bytes) -> Table:
        """The outermost table of a buffer.

        Raises:
            UserError: It is not of the schema of that identifier (4 bytes), or damaged.
        """
        if buffer[4:8] != identifier:
            raise UserError(f"holds {buffer[4:8]!r} where {identifier!r} stands")
        return cls(buffer, _number(buffer, 0, "<I"))

    def number(self, field: int, kind: str, default: int) -> int:
        """The number in a field, or what stands for one that is left out.

        Args:
            field: Its number in the schema.
            kind: As for `struct`, such as "<i".
            default: By the schema.

        Raises:
            UserError: It lies outside of the buffer.
        """
        place = self._find(field)
        return default if place is None else _number(self.buffer, place, kind)

    def vector(self, field: int, size: int) -> memoryview:
        """The elements of a field that is a vector of numbers or structs, or a string.

        Args:
            field: Its number in the schema.
            size: Bytes of an element.

        Returns:
            Their bytes; none if the field is left out.

        Raises:
            UserError: They lie outside of the buffer.
        """
        place = self._find(field)
        if place is None:
            return memoryview(b"")
        place += _number(self.buffer, place, "<I")
        length = _number(self.buffer, place, "<I") * size
        if place + 4 + length > len(self.buffer):
            raise UserError(f"states {length} bytes at {place}, more than there are")
        return memoryview(self.buffer)[place + 4 : place + 4 + length]

    def _find(self, field: int) -> int | None:
        fields = self.place - _number(self.buffer, self.place, "<i")
        if 4 + 2 * field >= _number(self.buffer, fields, "<H"):
            return None
        within = _number(self.buffer, fields + 4 + 2 * field, "<H")
        return self.place + within if within else None


def _number(buffer: bytes, place: int, kind: str) -> int:
    if not 0 <= place <= len(buffer) - struct.calcsize(kind):
        raise UserError(f"points to byte {place} of {len(buffer)}")
    return int(struct.unpack_from(kind, buffer, place)[0])
