"""Samples for Prometheus' remote write, as far as tests need it: a past for a revision.

The message is protobuf in snappy's block format; with literals only both are a few lines, and no
package has to be installed for them.
"""

from __future__ import annotations

import struct
import urllib.request
from collections.abc import Iterable, Mapping, Sequence

LITERAL_BYTES = 60
Sample = tuple[float, float]
"""Seconds since the epoch, value."""


def write(url: str, series: Iterable[tuple[Mapping[str, str], Sequence[Sample]]]) -> None:
    """Store series under their labels (with `__name__`)."""
    body = b"".join(_field(1, _series(labels, samples)) for labels, samples in series)
    request = urllib.request.Request(
        f"{url}/api/v1/write",
        data=_snappy(body),
        method="POST",
        headers={
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        },
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


def _series(labels: Mapping[str, str], samples: Sequence[Sample]) -> bytes:
    pairs = (
        _field(1, name.encode()) + _field(2, value.encode())
        for name, value in sorted(labels.items())
    )
    timed = (
        b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(int(time * 1000))
        for time, value in samples
    )
    return b"".join(_field(1, pair) for pair in pairs) + b"".join(_field(2, each) for each in timed)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _snappy(content: bytes) -> bytes:
    chunks = (
        content[start : start + LITERAL_BYTES] for start in range(0, len(content), LITERAL_BYTES)
    )
    return _varint(len(content)) + b"".join(
        bytes([(len(chunk) - 1) << 2]) + chunk for chunk in chunks
    )
