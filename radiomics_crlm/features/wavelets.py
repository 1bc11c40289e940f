"""Stationary wavelet transform of one level, sub-band by sub-band, with the bits of PyWavelets.

A sub-band is a convolution with a low-pass (L) or high-pass (H) filter along each axis, of the image repeated for ever;
axes of odd length are first extended by their first element, as pyradiomics does. Sub-bands that begin alike share the
convolutions of these axes, and only the surroundings of the wanted box are filtered. Terms are added in the order of
``pywt.swtn``, in the precision of the image; whether every bit agrees on this machine is tried once per process by
`same_as_pywt`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Container, Iterator
from typing import NamedTuple

import numpy as np
import pywt  # type: ignore[import-untyped]
from numba import njit

Box = tuple[slice, slice, slice]
# Elements of a row that are summed up while they stay in the fastest cache.
_BLOCK = 1024


def sub_bands(
    image: np.ndarray,
    wavelet: pywt.Wavelet,
    axes: tuple[int, ...] = (2, 1, 0),
    box: Box | None = None,
    wanted: Container[str] | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Sub-bands of the first level, in the order of pyradiomics: LLH to HHH, then the approximation LLL.

    Parameters
    ----------
    image
        Grey levels in the order z, y, x.
    wavelet
        Wavelet with filters not longer than an axis (`supported`); all of PyWavelets have even length.
    axes
        Axes to filter, in this order; the letters of a name belong to them.
    box
        Part of the image that is wanted (slices with start and stop); the whole image if None.
    wanted
        Names of the sub-bands to compute; all if None.

    Yields
    ------
    name, values
        Name of one letter per axis, and the box of the sub-band: float32 for an image of float32, otherwise float64.
    """
    z, y, x = image.shape
    parts_of = box if box is not None else (slice(0, z), slice(0, y), slice(0, x))
    plans = {axis: _plan(image.shape[axis], parts_of[axis], wavelet.dec_len) for axis in axes}
    places = [plans[a].source if a in plans else np.r_[parts_of[a]] for a in range(3)]
    kind = np.float32 if image.dtype == np.float32 else np.float64
    taps = _taps(wavelet, kind)
    # the parts of the last name computed, from none of its letters to all but the last
    parts = [image[np.ix_(*places)].astype(kind, order="C")]
    before = ""
    names = ["".join(letters) for letters in itertools.product("LH", repeat=len(axes))]
    for name in [*names[1:], names[0]]:
        if wanted is not None and name not in wanted:
            continue
        shared = next(i for i in range(len(axes)) if name[: i + 1] != before[: i + 1])
        del parts[shared + 1 :]
        for axis, letter in zip(axes[shared:], name[shared:], strict=True):
            parts.append(_along(parts[-1], axis, taps[letter], plans[axis].order))
        before = name
        yield name, parts.pop()


def supported(shape: tuple[int, ...], wavelet: pywt.Wavelet, axes: tuple[int, ...] = (2, 1, 0)) -> bool:
    """Whether `sub_bands` can transform an image: its filters are not longer than an axis."""
    return all(shape[a] + shape[a] % 2 >= wavelet.dec_len for a in axes)


@functools.cache
def same_as_pywt() -> bool:
    """Whether the values are those of PyWavelets to the last bit on this machine."""
    values = np.random.default_rng(0).normal(60, 40, (8, 10, 14))
    return all(
        np.array_equal(band, pywt.swtn(values.astype(kind), name, 1, axes=(2, 1, 0))[0][_pywt_name(letters)])
        for kind, name in itertools.product((np.float32, np.float64), ("coif1", "haar"))
        for letters, band in sub_bands(values.astype(kind), pywt.Wavelet(name))
    )


def _pywt_name(letters: str) -> str:
    return letters.replace("L", "a").replace("H", "d")


class _Plan(NamedTuple):
    """Where the input of one axis comes from, and in which order the taps are added for each output."""

    source: np.ndarray
    order: np.ndarray


def _plan(length: int, wanted: slice, taps: int) -> _Plan:
    """Plan of an axis: output ``o`` is the sum of ``filter[t] * input[o + taps / 2 - t]`` of the periodic input.

    Where the filter reaches over the end of the axis, PyWavelets adds the part beyond the end first, and backwards.
    """
    even = length + length % 2
    outputs = np.arange(wanted.start, wanted.stop)
    reach = np.arange(wanted.start + taps // 2 - taps + 1, wanted.stop + taps // 2)
    order = np.tile(np.arange(taps), (len(outputs), 1))
    for row, beyond in zip(order, outputs + taps // 2 - even, strict=True):
        if beyond >= 0:
            row[: beyond + 1] = row[: beyond + 1][::-1].copy()
    return _Plan(reach % even % length, order)


def _taps(wavelet: pywt.Wavelet, kind: type[np.floating]) -> dict[str, np.ndarray]:
    """Both filters as the response to an impulse: those of single precision are not the rounded ones of double."""
    length = wavelet.dec_len
    impulse = np.zeros(2 * length, dtype=kind)
    impulse[length // 2] = 1
    ((low, high),) = pywt.swt(impulse, wavelet, level=1)
    return {"L": low[:length], "H": high[:length]}


def _along(image: np.ndarray, axis: int, taps: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Convolution along an axis of an image that is longer there by the taps minus one."""
    shape = (*image.shape[:axis], len(order), *image.shape[axis + 1 :])
    result = np.zeros(shape, dtype=image.dtype)
    if axis == image.ndim - 1:
        usual = int((order == np.arange(len(taps))).all(axis=1).sum())
        _convolve_rows(image.reshape(-1, image.shape[axis]), result.reshape(-1, shape[axis]), taps, order, usual)
    else:
        outer, inner = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
        _convolve_columns(image.reshape(outer, -1, inner), result.reshape(outer, -1, inner), taps, order)
    return result


@njit(cache=True, nogil=True)
def _convolve_columns(image: np.ndarray, result: np.ndarray, taps: np.ndarray, order: np.ndarray) -> None:
    """Add the convolution along the middle axis to ``result``."""
    last = len(taps) - 1
    for outer in range(image.shape[0]):
        for start in range(0, image.shape[2], _BLOCK):
            stop = min(start + _BLOCK, image.shape[2])
            for i in range(result.shape[1]):
                total = result[outer, i, start:stop]
                for t in range(0, last, 2):
                    one, other = order[i, t], order[i, t + 1]
                    _add(
                        total,
                        taps[one],
                        image[outer, i + last - one, start:stop],
                        taps[other],
                        image[outer, i + last - other, start:stop],
                    )


@njit(cache=True, nogil=True)
def _convolve_rows(image: np.ndarray, result: np.ndarray, taps: np.ndarray, order: np.ndarray, usual: int) -> None:
    """Add the convolution along the last axis to ``result``; the first ``usual`` outputs add the taps in order."""
    last = len(taps) - 1
    for row in range(len(image)):
        given, total = image[row], result[row]
        for t in range(0, last, 2):
            _add(
                total[:usual],
                taps[t],
                given[last - t : last - t + usual],
                taps[t + 1],
                given[last - t - 1 : last - t - 1 + usual],
            )
        for i in range(usual, len(total)):
            for t in order[i]:
                total[i] += taps[t] * given[i + last - t]


@njit(cache=True, nogil=True)
def _add(total: np.ndarray, a: float, x: np.ndarray, b: float, y: np.ndarray) -> None:
    """Add two terms, one after the other."""
    for i in range(len(total)):
        total[i] = (total[i] + a * x[i]) + b * y[i]
