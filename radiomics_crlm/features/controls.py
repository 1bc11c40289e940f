"""Negative controls: what a feature would be if the lesion had no texture, or if there were no lesion.

A feature whose value survives the shuffling of voxels does not measure how grey values are arranged; one that is the
same in healthy liver of the same shape measures the shape, the patient or the scanner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from radiomics_crlm.features.motion import Box, boxes_of, widened
from radiomics_crlm.imaging.geometry import Volume

CONTROLS = ("shuffled", "elsewhere")
GAP_MM = 5.0
"""Distance that healthy liver keeps from every lesion: what surrounds a lesion is not healthy."""
# Places that are tried at first, and voxels that are looked up at once.
_FIRST_PLACES, _LOOKUPS = (16, 256, 4096), 1_000_000


def shuffled(image: Volume, mask: Volume, generator: np.random.Generator) -> Volume:
    """The image with the voxels of each lesion in random order: the same histogram, no texture.

    Parameters
    ----------
    image, mask
        Scan and label mask on one grid. Only voxels of a lesion change places, and only within their lesion.
    """
    array = image.array.copy()
    for label, box in boxes_of(mask).items():
        inside = mask.array[box] == label
        part = array[box]
        part[inside] = generator.permutation(part[inside])
    return replace(image, array=array)


@dataclass(frozen=True)
class Elsewhere:
    """Lesions moved to healthy liver.

    Parameters
    ----------
    mask
        Label mask with every lesion for which there was room, voxel by voxel the same shape at another place.
    reasons
        Why a label is not in it: ``no_healthy_room`` (nowhere in the liver the shape fits beside all lesions, vessels
        and what has been placed before).
    """

    mask: Volume
    reasons: Mapping[int, str]


def elsewhere(
    mask: Volume, liver: np.ndarray, generator: np.random.Generator, *, avoid: Iterable[np.ndarray] = ()
) -> Elsewhere:
    """The shape of each lesion at a random place in the liver, at least ``GAP_MM`` from every lesion.

    Places are drawn evenly from all shifts by whole voxels at which the shape lies in healthy liver. Lesions are placed
    largest first, and never on top of each other.

    Parameters
    ----------
    mask
        Label mask of all lesions.
    liver
        Boolean ``(z, y, x)``.
    avoid
        Boolean arrays that are not healthy liver, such as vessels.
    """
    placed = np.zeros_like(mask.array)
    reasons: dict[int, str] = {}
    boxes = boxes_of(mask)
    organ = _box_of(liver)
    healthy = liver & ~_near(mask, boxes)
    for other in avoid:
        healthy &= ~other
    free = healthy[organ]
    sizes = {label: int((mask.array[box] == label).sum()) for label, box in boxes.items()}
    for label in sorted(boxes, key=lambda n: (-sizes[n], n)):
        shape = np.argwhere(mask.array[boxes[label]] == label)
        place = _place(free, shape, generator)
        if place is None:
            reasons[label] = "no_healthy_room"
            continue
        at = tuple((shape + place).T)
        placed[organ][at], free[at] = label, False
    return Elsewhere(replace(mask, array=placed), reasons)


def _box_of(region: np.ndarray) -> Box:
    """Smallest box around the true voxels (empty without any)."""
    found = ndimage.find_objects(region.astype(np.uint8))
    return tuple(found[0]) if found else (slice(0, 0),) * region.ndim


def _near(mask: Volume, boxes: Mapping[int, Box]) -> np.ndarray:
    """Voxels that belong to a lesion or lie within the gap of one."""
    near = np.zeros(mask.array.shape, dtype=bool)
    for label, box in boxes.items():
        wide = widened(box, mask, GAP_MM, 1)
        distance = ndimage.distance_transform_edt(mask.array[wide] != label, sampling=mask.spacing[::-1])
        near[wide] |= distance <= GAP_MM
    return near


def _place(free: np.ndarray, shape: np.ndarray, generator: np.random.Generator) -> np.ndarray | None:
    """A random shift at which all voxels of a shape (indices within its box) are free; None if there is none.

    Places come in random order, and the first that fits is taken; the voxels of the shape come in random order, too, so
    that a wrong place is soon found out.
    """
    extent = shape.max(axis=0)
    wide = np.pad(free, [(int(n), int(n)) for n in extent])  # so that no shape reaches round the end of a row
    strides = np.array([wide.shape[1] * wide.shape[2], wide.shape[2], 1])
    order = generator.permutation(len(shape))
    offsets, flat = (shape[order] - shape[order[0]]) @ strides, wide.ravel()
    for places in _in_random_order(np.flatnonzero(flat), generator):
        fits = _fitting(flat, places, offsets)
        if fits.size:
            return np.array(np.unravel_index(int(fits[0]), wide.shape)) - extent - shape[order[0]]
    return None


def _in_random_order(places: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """All places in blocks; the first ones are drawn with replacement, which saves shuffling all of them."""
    if not places.size:
        return
    yield from (generator.choice(places, count) for count in _FIRST_PLACES)
    mixed = generator.permutation(places)
    yield from (mixed[begin : begin + _LOOKUPS] for begin in range(0, mixed.size, _LOOKUPS))


def _fitting(flat: np.ndarray, places: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Those places, in their order, at which every voxel of the shape is free."""
    begin, count = 0, 1
    while begin < offsets.size and places.size:
        part = offsets[begin : begin + count]
        places = places[flat[places[:, None] + part].all(axis=1)]
        begin, count = begin + count, min(2 * count, max(1, _LOOKUPS // max(1, places.size)))
    return places
