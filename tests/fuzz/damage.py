"""Bytes that are damaged: flipped, cut, moved, repeated, spliced, overwritten with extreme numbers."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

Rng = np.random.Generator
_INTEGERS = (-1, 0, 1, 255, 32767, 32768, 65535, 10**6, 2**31 - 1, -(2**31))
_REALS = (float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 1e-320, 0.0, -0.0)
_FOREIGN = (b"\x80\x04\x95", b"PK\x03\x04", b"\x1f\x8b\x08", b"\x93NUMPY", b"\x89HDF\r\n", b"PAR1", b"\xff\xfe", b"{[")


def pick(rng: Rng, choices: Sequence[object]) -> object:
    """One of several, whatever they are."""
    return choices[int(rng.integers(len(choices)))]


def _flip(data: bytearray, at: int, size: int, rng: Rng) -> None:
    data[at] ^= 1 << int(rng.integers(8))


def _noise(data: bytearray, at: int, size: int, rng: Rng) -> None:
    data[at : at + size] = rng.integers(0, 256, size, dtype=np.uint8).tobytes()


def _fill(data: bytearray, at: int, size: int, rng: Rng) -> None:
    data[at : at + size] = bytes([(0, 0xFF, 0x7F, 0x80, 0x20)[int(rng.integers(5))]]) * size


def _remove(data: bytearray, at: int, size: int, rng: Rng) -> None:
    del data[at : at + size]


def _repeat(data: bytearray, at: int, size: int, rng: Rng) -> None:
    data[at:at] = data[at : at + 8 * size] * int(rng.integers(1, 20))


def _truncate(data: bytearray, at: int, size: int, rng: Rng) -> None:
    del data[at if rng.random() < 0.4 else max(len(data) - size, 0) :]


def _integer(data: bytearray, at: int, size: int, rng: Rng) -> None:
    wide = int(rng.integers(2))
    value = _INTEGERS[int(rng.integers(len(_INTEGERS)))]
    width = (2, 4)[wide]
    mask = (1 << 8 * width) - 1
    data[at : at + width] = (value & mask).to_bytes(width, ("little", "big")[int(rng.integers(2))])


def _real(data: bytearray, at: int, size: int, rng: Rng) -> None:
    value = _REALS[int(rng.integers(len(_REALS)))]
    if rng.random() < 0.5:
        data[at : at + 8] = struct.pack("<d", value)
    else:
        data[at : at + 4] = np.float32(np.clip(value, -3e38, 3e38) if np.isfinite(value) else value).tobytes()


def _swap(data: bytearray, at: int, size: int, rng: Rng) -> None:
    other = int(rng.integers(max(len(data) - size, 1)))
    first, second = bytes(data[at : at + size]), bytes(data[other : other + size])
    data[at : at + size], data[other : other + size] = second, first


def _foreign(data: bytearray, at: int, size: int, rng: Rng) -> None:
    magic = _FOREIGN[int(rng.integers(len(_FOREIGN)))]
    place = 0 if rng.random() < 0.5 else at
    data[place : place + len(magic)] = magic


def _append(data: bytearray, at: int, size: int, rng: Rng) -> None:
    data += rng.integers(0, 256, int(rng.integers(1, 400)), dtype=np.uint8).tobytes()


_WAYS: tuple[Callable[[bytearray, int, int, Rng], None], ...] = (
    _flip, _flip, _noise, _fill, _remove, _repeat, _truncate, _integer, _integer, _real, _swap, _foreign, _append,
)  # fmt: skip


def damaged(content: bytes, rng: Rng, *, first: int = 0, last: int | None = None, most: int = 5) -> bytes:
    """Change a few places between two positions (negative ones count from the end)."""
    data = bytearray(content)
    if rng.random() < 0.01:
        return b""
    for _ in range(int(rng.integers(1, most + 1))):
        low = max(first if first >= 0 else len(data) + first, 0)
        high = min(len(data) if last is None else last, len(data))
        if high - low < 1:
            break
        at = int(rng.integers(low, high))
        _WAYS[int(rng.integers(len(_WAYS)))](data, at, int(rng.integers(1, 9)), rng)
    return bytes(data)


def spliced(content: bytes, other: bytes, rng: Rng) -> bytes:
    """The beginning of one file and the end of another."""
    if not content or not other:
        return content + other
    return content[: int(rng.integers(len(content)))] + other[int(rng.integers(len(other))) :]


@cache
def bomb(head: bytes, count: int) -> bytes:
    """A gzip stream of a head and so many zeros, made piece by piece."""
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    parts = [packer.compress(head)]
    parts += [packer.compress(bytes(1 << 22)) for _ in range(count >> 22)]
    return b"".join([*parts, packer.flush()])


def gzip_damaged(plain: bytes, rng: Rng) -> bytes:
    """A gzip stream that is damaged as such: checksum, length, members, tail."""
    data = gzip.compress(plain, compresslevel=1, mtime=0)
    how = int(rng.integers(7))
    if how == 0:
        return data[:-8] + rng.integers(0, 256, 8, dtype=np.uint8).tobytes()
    if how == 1:
        return data[: int(rng.integers(1, len(data)))]
    if how == 2:
        return data + data
    if how == 3:
        return data + rng.integers(0, 256, 50, dtype=np.uint8).tobytes()
    if how == 4:
        return gzip.compress(data, mtime=0)
    if how == 5:
        return data + bomb(b"", 1 << 26)
    return damaged(data, rng)
