"""Grey levels and the five texture matrices of a region, equal to those of pyradiomics and several times faster.

pyradiomics is the reference: every matrix equals, element by element, what ``radiomics.cMatrices`` returns in segment
mode for distance 1. Its array shapes are kept, too (a leading axis of one, the directions last), and what it does with
degenerate regions: directions along which the box is one voxel thick do not exist, and a direction in which no line
holds two voxels has no runs.

Levels are C-contiguous int32 arrays (z, y, x): 0 outside the region, 1 to ``n_levels`` inside, cropped to the region's
box (the directions depend on the shape).

>>> levels = np.array([[[1, 1, 2], [2, 2, 2]]], dtype=np.int32)
>>> pairs, angles = glcm(levels, 2)
>>> angles.tolist()
[[0, 1, 1], [0, 1, 0], [0, 1, -1], [0, 0, 1]]
>>> pairs[0, :, :, 3].tolist()
[[1.0, 1.0], [0.0, 2.0]]
>>> found = texture_matrices(levels, 2)
>>> found.zone_sizes.tolist(), found.glszm[0].tolist()
([2, 4], [[1.0, 0.0], [0.0, 1.0]])
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.features import texture_kernels as kernels

MOST_LEVELS = int(np.iinfo(np.int16).max)
LONGEST_SIDE = int(np.iinfo(np.int16).max)  # lengths of runs are counted in int16
MOST_BINS = 10_000_000  # of a first-order histogram; no texture is meant by more than a few hundred

Floats = NDArray[np.float64]
Levels = NDArray[np.int32]


@dataclass(frozen=True)
class TextureMatrices:
    """The five matrices of one region.

    ``glcm`` (1, levels, levels, directions), ``glrlm`` (1, levels, run lengths, directions), ``gldm`` (1, levels,
    dependences) and ``ngtdm`` (1, levels, 3) are as pyradiomics makes them; column k of ``glszm`` (1, levels, sizes)
    holds the zones of ``zone_sizes[k]`` voxels, and only sizes that occur have a column. ``angles`` (directions, 3) are
    steps in z, y, x.
    """

    angles: NDArray[np.int32]
    glcm: Floats
    glrlm: Floats
    glszm: Floats
    zone_sizes: NDArray[np.int64]
    gldm: Floats
    ngtdm: Floats


class _Region:
    """The levels as one flat int16 array between zeros, and the steps to the neighbours in it.

    Rows share one column of zeros and slices one row, so that a step over an edge ends in zeros, too.
    """

    def __init__(self, levels: Levels, n_levels: int, force_2d: bool) -> None:
        _check_levels(levels, n_levels)
        depth, height, width = levels.shape
        self.levels, self.n_levels = levels, n_levels
        self.row = width + 1
        plane = (height + 1) * self.row
        self.plane = 0 if force_2d else plane
        self.start = plane + self.row + 1
        self.stop = self.start + depth * plane
        self.flat = np.zeros(self.stop + self.start, dtype=np.int16)
        self.flat[self.start : self.stop].reshape(depth, height + 1, self.row)[:, :height, :width] = levels
        reach = tuple(int(size > 1) for size in levels.shape)
        angles, touching = _directions((0, *reach[1:]) if force_2d else reach)
        if not len(angles):
            raise InputError(
                "no voxel of the region can have a neighbour", expected="a box longer than one voxel in some direction"
            )
        self.angles, self.touching = angles.copy(), touching.copy()
        self.offsets = self.angles @ np.array([plane, self.row, 1], dtype=np.int64)

    @cached_property
    def bits(self) -> NDArray[np.uint16]:
        return np.asarray(kernels.equal_bits(self.flat, self.offsets, self.start, self.stop))

    @cached_property
    def pairs(self) -> tuple[Floats, NDArray[np.int64]]:
        matrix, voxels = kernels.cooccurrences(self.flat, self.offsets, self.start, self.stop, self.n_levels)
        return matrix, voxels

    def glrlm(self, max_run: int) -> Floats:
        if max_run < max(self.levels.shape):
            raise InputError(
                "the longest run counted is shorter than the region",
                where="max_run",
                expected=f"at least {max(self.levels.shape)}, the longest side of the box",
                got=str(max_run),
            )
        where = (self.start, self.stop, self.n_levels, max_run)
        runs = kernels.long_runs(self.flat, self.bits, self.offsets, *where)
        together = kernels.short_runs(runs, *self.pairs)
        for d in np.flatnonzero(together == 0):
            if not _line_of_two(self.levels, self.angles[d]):
                runs[..., d] = 0
        return np.asarray(runs)

    def glszm(self) -> tuple[Floats, NDArray[np.int64]]:
        where = (self.start, self.stop, int(np.count_nonzero(self.flat)))
        found, sizes = kernels.zones(self.flat, self.bits, self.offsets, self.touching, *where)
        matrix, present = kernels.zone_table(found, sizes, self.n_levels)
        return matrix, present

    def gldm(self, alpha: int) -> Floats:
        where = (self.start, self.stop, self.n_levels, min(alpha, MOST_LEVELS))
        return np.asarray(kernels.dependences(self.flat, self.offsets, *where))

    def ngtdm(self) -> Floats:
        return np.asarray(
            kernels.tone_differences(self.flat, self.row, self.plane, self.start, self.stop, self.n_levels)
        )


def _check_levels(levels: Levels, n_levels: int) -> None:
    if not isinstance(levels, np.ndarray) or levels.dtype != np.int32 or levels.ndim != 3:
        got = f"{levels.dtype} with {levels.ndim} axes" if isinstance(levels, np.ndarray) else type(levels).__name__
        raise InputError("not an array of grey levels", expected="an int32 array with the axes z, y, x", got=got)
    if not levels.flags.c_contiguous:
        raise InputError("the array of grey levels is a view with gaps", remedy="pass np.ascontiguousarray(levels)")
    if max(levels.shape) > LONGEST_SIDE:
        raise InputError("the box of the region is too long", expected=f"at most {LONGEST_SIDE} voxels along each axis")
    if not levels.size or not levels.any():
        raise InputError("the region is empty", expected="at least one voxel with a level above 0")
    if not 1 <= n_levels <= MOST_LEVELS:
        raise InputError(
            "so many grey levels are not counted",
            where="n_levels",
            expected=f"1 to {MOST_LEVELS}",
            got=str(n_levels),
            remedy="use wider bins",
        )
    if levels.min() < 0 or levels.max() > n_levels:
        raise InputError("grey levels outside their range", expected=f"0 (outside the region) to {n_levels}")


@lru_cache(maxsize=16)
def _directions(reach: tuple[int, ...]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Steps to the later neighbours in the order of pyradiomics, and as bits which others each of them touches."""
    steps = product(*(range(r, -r - 1, -1) for r in reach))
    angles = np.array([step for step in steps if step > (0, 0, 0)], dtype=np.int32).reshape(-1, 3)
    touching = np.abs(angles[:, None] - angles[None]).max(axis=2) <= 1
    return angles, touching @ (1 << np.arange(len(angles), dtype=np.int64))


def _line_of_two(levels: Levels, angle: NDArray[np.int32]) -> bool:
    """Whether some line in this direction holds two voxels of the region, however far apart."""
    places = np.argwhere(levels > 0)
    axis = int(np.flatnonzero(angle)[0])
    feet = places - places[:, [axis]] * angle * angle[axis]  # where the line of each voxel meets the plane axis = 0
    return len(np.unique(feet, axis=0)) < len(feet)


def glcm(levels: Levels, n_levels: int, force_2d: bool = False) -> tuple[Floats, NDArray[np.int32]]:
    """Grey level co-occurrences, not made symmetric.

    Parameters
    ----------
    levels
        int32 (z, y, x), see the module.
    n_levels
        Number of levels, at most 32767.
    force_2d
        Look at neighbours within slices only.

    Returns
    -------
    matrix
        (1, n_levels, n_levels, directions): how often level i + 1 is followed by j + 1 one step further.
    angles
        (directions, 3): the steps in z, y, x; 13, or 4 within slices, fewer for a box one voxel thick.

    Raises
    ------
    InputError
        Levels of another type or outside their range, an empty region, a box without neighbours.
    """
    region = _Region(levels, n_levels, force_2d)
    return region.pairs[0], region.angles


def glrlm(levels: Levels, n_levels: int, max_run: int, force_2d: bool = False) -> tuple[Floats, NDArray[np.int32]]:
    """Grey level run lengths: (1, n_levels, max_run, directions) and the angles. Arguments and errors as in `glcm`;
    ``max_run`` must reach the longest side of the box."""
    region = _Region(levels, n_levels, force_2d)
    return region.glrlm(max_run), region.angles


def zone_sizes(levels: Levels, n_levels: int, force_2d: bool = False) -> tuple[Floats, NDArray[np.int64]]:
    """Grey level size zones with a column for each size that occurs: (1, n_levels, sizes), and the sizes in voxels.

    A zone is a set of voxels of one level connected over faces, edges and corners. Arguments and errors as in `glcm`.
    """
    return _Region(levels, n_levels, force_2d).glszm()


def glszm(levels: Levels, n_levels: int, force_2d: bool = False) -> Floats:
    """Grey level size zones as pyradiomics lays them out: (1, n_levels, size of the largest zone).

    One zone of a million voxels makes this hundreds of megabytes: `zone_sizes` has the same content.
    """
    matrix, sizes = zone_sizes(levels, n_levels, force_2d)
    dense = np.zeros((1, n_levels, int(sizes[-1])))
    dense[:, :, sizes - 1] = matrix
    return dense


def gldm(levels: Levels, n_levels: int, alpha: int = 0, force_2d: bool = False) -> Floats:
    """Grey level dependences: column k counts the voxels with k neighbours whose level is at most ``alpha`` away.

    (1, n_levels, 53), or 17 columns within slices; half of the columns are always empty, as in pyradiomics. Arguments
    and errors as in `glcm`.
    """
    _check_alpha(alpha)
    return _Region(levels, n_levels, force_2d).gldm(alpha)


def ngtdm(levels: Levels, n_levels: int, force_2d: bool = False) -> Floats:
    """Neighbouring grey tone differences: (1, n_levels, [voxels, summed absolute difference to the mean of the
    neighbours in the region, level]). Arguments and errors as in `glcm`."""
    return _Region(levels, n_levels, force_2d).ngtdm()


def texture_matrices(
    levels: Levels, n_levels: int, *, max_run: int | None = None, alpha: int = 0, force_2d: bool = False
) -> TextureMatrices:
    """All five matrices, sharing what they have in common. Arguments and errors as in `glcm`, `glrlm` and `gldm`.

    ``max_run`` is the longest side of the box if not given, as in pyradiomics.
    """
    _check_alpha(alpha)
    region = _Region(levels, n_levels, force_2d)
    zones, sizes = region.glszm()
    return TextureMatrices(
        angles=region.angles,
        glcm=region.pairs[0],
        glrlm=region.glrlm(max(levels.shape) if max_run is None else max_run),
        glszm=zones,
        zone_sizes=sizes,
        gldm=region.gldm(alpha),
        ngtdm=region.ngtdm(),
    )


def _check_alpha(alpha: int) -> None:
    if not isinstance(alpha, int) or alpha < 0:
        raise ConfigError("not a distance between grey levels", where="alpha", expected="a whole number from 0")


def discretise(
    values: ArrayLike,
    *,
    bin_width: float | None = None,
    bin_count: int | None = None,
    lowest: float | None = None,
) -> tuple[Levels, NDArray[np.generic]]:
    """Grey levels of the values of a region, exactly as pyradiomics cuts them.

    Parameters
    ----------
    values
        Values of the region, 1-D, in the type of the image: the edges are computed in that type, as pyradiomics does.
    bin_width
        Width of a bin; the first one starts at the largest multiple of it that is not above the least value.
    bin_count
        Number of bins of equal width between the least and the greatest value. One of the two is given.
    lowest
        With ``bin_width``: where the first bin starts instead, for example at the lower end of a re-segmentation range,
        as IBSI asks.

    Returns
    -------
    levels
        int32, from 1 (from the first edge up to, not including, the second).
    edges
        The edges of the bins, one more than bins at least.

    Raises
    ------
    ConfigError
        Not one of the two ways, or a width or number that makes no bins.
    InputError
        Values that are not numbers, none at all, not finite or below ``lowest``; more bins than are kept; a type of
        image that cannot hold the edges.

    >>> levels, edges = discretise(np.array([54.0, 75.0, 166.0]), bin_width=25)
    >>> levels.tolist(), edges.tolist()
    ([1, 2, 5], [50.0, 75.0, 100.0, 125.0, 150.0, 175.0, 200.0])
    """
    region = np.asarray(values)
    _check_values(region)
    _check_bins(bin_width, bin_count, lowest)
    if bin_count is not None:
        edges = _edges_by_count(region, bin_count)
    else:
        edges = _edges_by_width(region, bin_width or 0, lowest)
    plain = np.require(edges, np.float64, ["C", "W"])
    with np.errstate(divide="ignore"):
        per_unit = float(1 / (plain[1] - plain[0])) if plain.size > 1 else np.inf
    if not np.isfinite(per_unit):
        raise InputError("the bins are too narrow for the size of the values", remedy="use wider bins")
    return kernels.digitise(np.require(region, np.float64, ["C", "W"]), plain, per_unit), edges


def _check_values(region: NDArray[np.generic]) -> None:
    if region.ndim != 1 or region.dtype.kind not in "iuf":
        raise InputError(
            "not the values of a region",
            expected="a 1-D array of numbers",
            got=f"{region.dtype} with {region.ndim} axes",
        )
    if not region.size:
        raise InputError("the region is empty", expected="at least one value")


def _check_bins(bin_width: float | None, bin_count: int | None, lowest: float | None) -> None:
    if (bin_width is None) == (bin_count is None):
        raise ConfigError("bins have a width or a number", expected="one of bin_width and bin_count")
    if bin_width is not None and not (np.isfinite(bin_width) and bin_width > 0):
        raise ConfigError("bins without a width", where="bin_width", expected="above 0", got=str(bin_width))
    if bin_count is not None and not 1 <= bin_count <= MOST_BINS:
        raise ConfigError("no such number of bins", where="bin_count", expected=f"1 to {MOST_BINS}", got=str(bin_count))
    if bin_count is not None and lowest is not None:
        raise ConfigError("a number of bins spans the values as they are", where="lowest", remedy="use bin_width")


def _edges_by_count(region: NDArray[np.generic], bin_count: int) -> NDArray[np.generic]:
    try:
        edges = np.histogram_bin_edges(region, bin_count)
    except ValueError:  # not finite, or too many bins for the range
        raise InputError("the values cannot be cut into so many bins", where="bin_count") from None
    edges[-1] += 1  # the greatest value belongs to the last bin
    return edges


def _edges_by_width(region: NDArray[np.generic], bin_width: float, lowest: float | None) -> NDArray[np.generic]:
    low, high = region.min(), region.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("values of the region are not finite")
    if lowest is not None and low < lowest:
        raise InputError("values of the region lie below the first bin", where="lowest", remedy="re-segment first")
    if (float(high) - float(low if lowest is None else lowest)) / bin_width > MOST_BINS:
        raise InputError("more bins than are kept", expected=f"at most {MOST_BINS}", remedy="use wider bins")
    try:
        with np.errstate(over="raise"):
            first = low - low % bin_width if lowest is None else lowest
            return np.arange(first, high + 2 * bin_width, bin_width)
    except (FloatingPointError, OverflowError):
        raise InputError(
            "the type of the image cannot hold the edges of the bins",
            got=str(region.dtype),
            remedy="convert the image to float64",
        ) from None
