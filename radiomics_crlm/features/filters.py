"""Filtered images of a scan, one at a time, with the voxel values of pyradiomics and only where they are wanted.

Features see a filtered image only inside the box of the region, so nothing else is computed where a filter allows it.
The values are bit by bit those that the generators of ``radiomics.imageoperations`` give for the same image. Laplacians
of Gaussian and wavelets, which cost most, have implementations of their own; if these do not reproduce SimpleITK or
PyWavelets exactly on the machine at hand, which is tried once per process, or if an image is too small for them, the
generators themselves are used.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pywt  # type: ignore[import-untyped]
import scipy.special
import SimpleITK as sitk
from radiomics import imageoperations

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.features.laplacian import laplacian_of_gaussian, same_as_itk
from radiomics_crlm.features.wavelets import Box, same_as_pywt, sub_bands, supported

_Named = Iterator[tuple[str, np.ndarray]]
# Packages that the engine needs for a filter beyond its own requirements (extra `lbp`).
_NEEDS = {"LBP2D": "skimage", "LBP3D": "trimesh"}
# Voxels per call of the engine's three-dimensional pattern, which takes several kB for each.
_PATTERN_VOXELS = 100_000


def check_available(image_types: Iterable[str]) -> None:
    """Make sure that the image types can be made, before the first case.

    Parameters
    ----------
    image_types
        Names of pyradiomics, e.g. ``("Original", "LBP2D")``.

    Raises
    ------
    ConfigError
        Naming an unknown type, or the extra that brings a package which is not installed.

    Examples
    --------
    >>> check_available(["Original", "Wavelet"])
    """
    for name in image_types:
        if name not in _FILTERS:
            raise ConfigError("unknown image type", expected=", ".join(_FILTERS), got=name)
        package = _NEEDS.get(name)
        if package is not None and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"image type {name} needs a package that is not installed",
                expected=package,
                remedy="install the extra lbp, e.g. pip install 'radiomics-crlm[lbp]'",
            )


def filtered_images(
    image: sitk.Image,
    mask: sitk.Image,
    image_types: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
    *,
    wanted: Container[str] | None = None,
    box: Box | None = None,
) -> _Named:
    """Make the images of all types, one at a time.

    Parameters
    ----------
    image
        Three-dimensional image as the engine would filter it: prepared, resampled, cropped to the region and its
        margin. All of it enters where a filter has no finite reach or scales by the largest grey level.
    mask
        Mask on the same grid; used by the three-dimensional local binary pattern only.
    image_types
        Names of pyradiomics, and settings of each type alone, as ``RadiomicsFeatureExtractor.enabledImagetypes``.
    settings
        Settings of pyradiomics for all types, e.g. ``force2D`` and ``label``.
    wanted
        Names of the images to make, e.g. ``{"original", "wavelet-LLH"}``; all if None.
    box
        Part of the image that is wanted, as slices along z, y, x with start and stop; the whole image if None.

    Yields
    ------
    name, values
        The engine's name of the image and its box in the engine's type, order z, y, x. An image that the engine leaves
        out (smaller than sigma, or than four voxels) is left out. Values of the three-dimensional local binary pattern
        are zero outside the mask, where those of the engine are undefined.

    Raises
    ------
    ConfigError
        If an image type is unknown or needs a package that is not installed.
    InputError
        If image and mask differ in size or are not three-dimensional, or the box is not inside.
    """
    check_available(image_types)
    if image.GetDimension() != 3 or image.GetSize() != mask.GetSize():
        got = f"{image.GetSize()} and {mask.GetSize()} voxels"
        raise InputError("image and mask do not fit", expected="three dimensions of equal size", got=got)
    array = sitk.GetArrayViewFromImage(image)
    if box is None:
        box = (slice(0, array.shape[0]), slice(0, array.shape[1]), slice(0, array.shape[2]))
    if not all(0 <= s.start < s.stop <= n for s, n in zip(box, array.shape, strict=True)):
        raise InputError("the box is empty or leaves the image")
    for kind, own in image_types.items():
        yield from _FILTERS[kind](_Source(image, mask, array, box, {**settings, **own}, wanted))


@dataclass(frozen=True)
class _Source:
    """What a filter works on."""

    image: sitk.Image
    mask: sitk.Image
    array: np.ndarray
    box: Box
    settings: dict[str, Any]
    wanted: Container[str] | None

    def wants(self, name: str) -> bool:
        return self.wanted is None or name in self.wanted

    def engine(self, generator: Callable[..., Any], image: sitk.Image | None = None) -> _Named:
        """What a generator of the engine yields for the image or a part of it, uncropped."""
        made = generator(image or self.image, self.mask, **self.settings)
        while True:
            with _quiet():
                filtered, name, _ = next(made, (None, "", None))
            if filtered is None:
                return
            if self.wants(name):
                yield name, sitk.GetArrayFromImage(filtered)


def _original(source: _Source) -> _Named:
    """The image itself."""
    if source.wants("original"):
        yield "original", np.array(source.array[source.box])


def _laplacian(source: _Source) -> _Named:
    """Laplacian of Gaussian for each sigma (mm) that the image is large enough for."""
    size, spacing = np.array(source.image.GetSize()), np.array(source.image.GetSpacing())
    sigmas = [s for s in source.settings.get("sigma", []) if s > 0 and (size >= np.ceil(s / spacing) + 1).all()]
    names = {sigma: f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D" for sigma in sigmas}
    if size.min() < 4 or not any(source.wants(name) for name in names.values()):
        return
    if not same_as_itk():
        yield from _boxed(source, imageoperations.getLoGImage)
        return
    values = np.array(source.array, dtype=np.float64)
    z, y, x = (float(s) for s in spacing[::-1])
    for sigma, name in names.items():
        if source.wants(name):
            yield name, laplacian_of_gaussian(values, (z, y, x), float(sigma), source.box)


def _wavelet(source: _Source) -> _Named:
    """Sub-bands of the stationary wavelet transform."""
    wavelet = source.settings.get("wavelet", "coif1")
    wavelet = wavelet if isinstance(wavelet, pywt.Wavelet) else pywt.Wavelet(wavelet)
    flat = source.settings.get("force2Ddimension", 0) if source.settings.get("force2D", False) else None
    axes = tuple(a for a in (2, 1, 0) if a != flat)
    first_level = source.settings.get("level", 1) == 1 and source.settings.get("start_level", 0) == 0
    if not (first_level and supported(source.array.shape, wavelet, axes) and same_as_pywt()):
        yield from _boxed(source, imageoperations.getWaveletImage)
        return
    wanted = None if source.wanted is None else _Prefixed("wavelet-", source.wanted)
    for name, values in sub_bands(source.array, wavelet, axes, source.box, wanted):
        yield f"wavelet-{name}", values


@dataclass(frozen=True)
class _Prefixed:
    """Names that are in a container once a prefix is put before them."""

    prefix: str
    names: Container[str]

    def __contains__(self, name: object) -> bool:
        return f"{self.prefix}{name}" in self.names


def _largest(array: np.ndarray) -> np.float64:
    """Largest absolute value of the whole image."""
    return np.maximum(-np.float64(array.min()), np.float64(array.max()))


def _square(source: _Source) -> _Named:
    if source.wants("square"):
        with np.errstate(all="ignore"):
            values = source.array[source.box].astype(np.float64)
            values *= 1 / np.sqrt(_largest(source.array))
            yield "square", np.square(values, out=values)


def _square_root(source: _Source) -> _Named:
    if source.wants("squareroot"):
        with np.errstate(all="ignore"):
            signs = source.array[source.box].astype(np.float64)
            values = np.abs(signs)
            values *= _largest(source.array)
            yield "squareroot", np.copysign(np.sqrt(values, out=values), signs, out=values)


def _logarithm(source: _Source) -> _Named:
    if source.wants("logarithm"):
        with np.errstate(all="ignore"):
            largest = _largest(source.array)
            signs = source.array[source.box].astype(np.float64)
            values = np.abs(signs)
            values += 1
            values = np.copysign(np.log(values, out=values), signs, out=values)
            values *= largest / np.log(largest + 1)
            yield "logarithm", values


def _exponential(source: _Source) -> _Named:
    if source.wants("exponential"):
        with np.errstate(all="ignore"):
            largest = _largest(source.array)
            values = source.array[source.box].astype(np.float64)
            values *= np.log(largest) / largest
            yield "exponential", np.exp(values, out=values)


def _gradient(source: _Source) -> _Named:
    """Magnitude of the gradient, which reaches one voxel far."""
    if not source.wants("gradient"):
        return
    part, inner = _part(source, [1, 1, 1])
    for name, values in source.engine(imageoperations.getGradientImage, part):
        yield name, values[inner]


def _pattern_2d(source: _Source) -> _Named:
    """Local binary pattern within slices, each on its own."""
    if not source.wants("lbp-2D"):
        return
    margin = [max(source.array.shape)] * 3
    margin[source.settings.get("force2Ddimension", 0)] = 0
    part, inner = _part(source, margin)
    for name, values in source.engine(imageoperations.getLBP2DImage, part):
        yield name, values[inner]


def _pattern_3d(source: _Source) -> _Named:
    """Local binary pattern on spheres, for the voxels of the mask.

    The engine treats each voxel of the mask on its own, all at once; here it gets them in portions, so that an organ
    does not need several gigabytes.
    """
    levels = source.settings.get("lbp3DLevels", 2)
    names = [*(f"lbp-3D-m{level + 1}" for level in range(levels)), "lbp-3D-k"]
    names = [name for name in names if source.wants(name)]
    if not names:
        return
    label = source.settings.get("label", 1)
    region = np.zeros(source.array.shape, dtype=bool)
    region[source.box] = sitk.GetArrayViewFromImage(source.mask)[source.box] == label
    places = np.flatnonzero(region)
    results = {name: np.zeros(source.array.shape) for name in names}
    portions = np.array_split(places, -(-len(places) // _PATTERN_VOXELS)) if len(places) else []
    for portion in portions:
        some = np.zeros(source.array.shape, dtype=np.uint32)
        some.flat[portion] = label
        mask = sitk.GetImageFromArray(some)
        with _quiet(), _spherical_harmonics():
            for made, name, _ in imageoperations.getLBP3DImage(source.image, mask, **source.settings):
                if name in results:
                    results[name].flat[portion] = sitk.GetArrayViewFromImage(made).flat[portion]
    for name in names:
        yield name, results.pop(name)[source.box]


def _boxed(source: _Source, generator: Callable[..., Any]) -> _Named:
    """All images of a generator of the engine, cut to the box."""
    for name, values in source.engine(generator):
        yield name, np.array(values[source.box])


def _part(source: _Source, margin: list[int]) -> tuple[sitk.Image, Box]:
    """The box of the image with a margin of voxels (order z, y, x), at most to its border; and where the box is."""
    sides = list(zip(source.box, margin, source.array.shape, strict=True))
    low = [max(s.start - m, 0) for s, m, _ in sides]
    high = [min(s.stop + m, n) for s, m, n in sides]
    size = [b - a for a, b in zip(low, high, strict=True)]
    z, y, x = (slice(s.start - a, s.stop - a) for s, a in zip(source.box, low, strict=True))
    return sitk.RegionOfInterest(source.image, size[::-1], low[::-1]), (z, y, x)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings from inside the engine: about floating-point images, constant spheres, and old names in SciPy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _spherical_harmonics() -> Iterator[None]:
    """Give the engine ``scipy.special.sph_harm``, which it imports by name and which SciPy 1.17 removed.

    Its successor takes degree before order and the polar angle before the azimuth.
    """
    if hasattr(scipy.special, "sph_harm"):
        yield
        return

    scipy.special.sph_harm = lambda order, degree, azimuth, polar: scipy.special.sph_harm_y(
        degree, order, polar, azimuth
    )
    try:
        yield
    finally:
        del scipy.special.sph_harm


_FILTERS: dict[str, Callable[[_Source], _Named]] = {
    "Original": _original,
    "LoG": _laplacian,
    "Wavelet": _wavelet,
    "Square": _square,
    "SquareRoot": _square_root,
    "Logarithm": _logarithm,
    "Exponential": _exponential,
    "Gradient": _gradient,
    "LBP2D": _pattern_2d,
    "LBP3D": _pattern_3d,
}
