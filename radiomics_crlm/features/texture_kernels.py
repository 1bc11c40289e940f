"""Compiled loops of the texture matrices, over a region that lies flat in memory between zeros.

All kernels take the region as ``matrices._Region`` lays it out: one 1-D int16 array, 0 outside the region, in which a
step to any neighbour is one fixed number (``offsets``, positive: the neighbour comes later in raster order) and never
leaves the array. ``start`` and ``stop`` bound the part that holds the region. Arguments always have the same types, so
that each kernel is compiled once and then read from numba's cache.

Most of the work hangs on one question, whether a voxel has the level of its neighbour, which is asked once:
``equal_bits`` answers it for all directions with one bit each.

Unsigned indices spare numba's test for negative ones; blocks keep the inner loops plain enough to be vectorised.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Place of the only bit set in a number of 16 bits, by the top four bits of its product with 0x0F65.
DE_BRUIJN = (0, 1, 11, 2, 14, 12, 8, 3, 15, 10, 13, 7, 9, 6, 5, 4)
BLOCK = 512  # voxels at a time: the working set stays in the first-level cache


@njit(cache=True, nogil=True)
def _outside(block):  # type: ignore[no-untyped-def]
    """Whether a block holds no voxel of the region."""
    found = np.int16(0)
    for i in range(block.size):
        found |= block[i]
    return found == 0


@njit(cache=True, nogil=True)
def equal_bits(flat, offsets, start, stop):  # type: ignore[no-untyped-def]
    """Bit d of an element: the voxel one step back in direction d has the same level (0 outside the region)."""
    bits = np.zeros(flat.size, np.uint16)
    for low in range(start, stop, BLOCK):
        high = min(low + BLOCK, stop)
        here, out = flat[low:high], bits[low:high]
        if _outside(here):
            continue
        for d in range(offsets.size):
            bit = np.uint16(1 << d)
            back = flat[low - offsets[d] : high - offsets[d]]
            for i in range(here.size):
                out[i] |= bit if here[i] == back[i] else np.uint16(0)
        for i in range(here.size):
            out[i] = out[i] if here[i] != 0 else np.uint16(0)
    return bits


@njit(cache=True, nogil=True)
def cooccurrences(flat, offsets, start, stop, n_levels):  # type: ignore[no-untyped-def]
    """GLCM of each direction, (1, levels, levels, directions), the earlier voxel first; voxels of each level."""
    n_offsets, row = offsets.size, n_levels + 1
    counts = np.zeros((n_levels + 1) * n_offsets * row, np.int32)  # neighbour 0, the outside, has its own column
    steps = offsets.astype(np.uint64)
    voxels = np.zeros(row, np.int64)
    row_u, voxel_u = np.uint64(row), np.uint64(n_offsets * row)
    for i in range(np.uint64(start), np.uint64(stop)):
        level = flat[i]
        if level == 0:
            continue
        voxels[level] += 1
        base = np.uint64(level) * voxel_u
        for d in range(steps.size):
            counts[base + np.uint64(flat[i + steps[d]])] += 1
            base += row_u
    table = counts.reshape((n_levels + 1, n_offsets, row))
    result = np.empty((1, n_levels, n_levels, n_offsets))
    for i in range(n_levels):
        for j in range(n_levels):
            for d in range(n_offsets):
                result[0, i, j, d] = table[i + 1, d, j + 1]
    return result, voxels[1:]


@njit(cache=True, nogil=True)
def _lowest_bit(pattern):  # type: ignore[no-untyped-def]
    return DE_BRUIJN[((pattern & -pattern) * 0x0F65 & 0xFFFF) >> 12]


@njit(cache=True, nogil=True)
def _grow(bits, bit, offset, place, carried, lengths):  # type: ignore[no-untyped-def]
    """Length of the run in one direction up to each voxel of a block.

    ``carried`` holds the lengths of the last ``offset`` voxels in a ring: the entry at ``place`` is the voxel one step
    back, and then its successor.
    """
    if offset == 1:  # rings of one are the same without the bookkeeping
        last = carried[0]
        for i in range(bits.size):
            last = np.int16(last + 1) if bits[i] & bit else np.int16(1)
            lengths[i] = last
        carried[0] = last
        return
    done = 0
    while done < bits.size:
        n = min(offset - place, bits.size - done)
        here, ring, out = bits[done : done + n], carried[place : place + n], lengths[done : done + n]
        for i in range(n):
            ring[i] = np.int16(ring[i] + 1) if here[i] & bit else np.int16(1)
            out[i] = ring[i]
        done += n
        place = (place + n) % offset


@njit(cache=True, nogil=True)
def _count_ends(levels, ends, lengths, result):  # type: ignore[no-untyped-def]
    """Add the runs that end in a block, in the directions of the bits of ``ends``."""
    for i in range(ends.size):
        pattern = np.int64(ends[i])
        while pattern:
            d = _lowest_bit(pattern)
            pattern &= pattern - 1
            result[0, levels[i] - 1, lengths[d, i] - 1, d] += 1


@njit(cache=True, nogil=True)
def long_runs(flat, bits, offsets, start, stop, n_levels, max_run):  # type: ignore[no-untyped-def]
    """GLRLM of each direction without its runs of one and two voxels: (1, levels, run lengths, directions).

    Most runs are short, and how many of these there are follows from the pairs (``short_runs``): only the others are
    visited.
    """
    result = np.zeros((1, n_levels, max_run, offsets.size))
    ahead_equal, ends = np.empty(BLOCK, np.uint16), np.empty(BLOCK, np.uint16)
    carried, lengths = np.zeros((offsets.size, offsets[0]), np.int16), np.empty((offsets.size, BLOCK), np.int16)
    for low in range(start, stop, BLOCK):
        high = min(low + BLOCK, stop)
        n = high - low
        if _outside(flat[low:high]):
            continue
        here, going_on, last = bits[low:high], ahead_equal[:n], ends[:n]
        going_on[:] = 0
        last[:] = 0
        for d in range(offsets.size):
            step, bit = offsets[d], np.uint16(1 << d)
            back, ahead = bits[low - step : high - step], bits[low + step : high + step]
            for i in range(n):
                last[i] |= back[i] & bit
                going_on[i] |= ahead[i] & bit
            _grow(here, bit, step, (low - start) % step, carried[d], lengths[d])
        for i in range(n):
            last[i] &= here[i] & ~going_on[i]
        _count_ends(flat[low:high], last, lengths, result)
    return result


@njit(cache=True, nogil=True)
def short_runs(runs, pairs, voxels):  # type: ignore[no-untyped-def]
    """Fill in the runs of one and two voxels, in place.

    Let w(k) be the number of places where k voxels in a row have one level: w(1) counts voxels (``voxels``, by level),
    w(2) equal pairs (the diagonal of the GLCM), w(3) and w(4) follow from the long runs. There are
    w(k) - 2 w(k + 1) + w(k + 2) runs of k voxels. Returns the number of pairs of any levels in each direction.
    """
    n_lengths = runs.shape[2]
    together = np.zeros(runs.shape[3])
    for level in range(runs.shape[1]):
        for other in range(runs.shape[1]):
            for d in range(runs.shape[3]):
                together[d] += pairs[0, level, other, d]
        for d in range(runs.shape[3]):
            w1, w2, w3, w4 = float(voxels[level]), pairs[0, level, level, d], 0.0, 0.0
            for k in range(2, n_lengths):
                w3 += (k - 1) * runs[0, level, k, d]
                w4 += (k - 2) * runs[0, level, k, d]
            runs[0, level, 0, d] = w1 - 2 * w2 + w3
            if n_lengths > 1:
                runs[0, level, 1, d] = w2 - 2 * w3 + w4
    return together


@njit(cache=True, nogil=True)
def dependences(flat, offsets, start, stop, n_levels, alpha):  # type: ignore[no-untyped-def]
    """GLDM: (1, levels, number of neighbours within ``alpha``), as wide as the engine makes it."""
    counts = np.zeros((n_levels + 1, 2 * offsets.size + 1), np.int64)
    block, lowest, highest = np.empty(BLOCK, np.int16), np.empty(BLOCK, np.int16), np.empty(BLOCK, np.int16)
    for low in range(start, stop, BLOCK):
        high = min(low + BLOCK, stop)
        n = high - low
        here, number = flat[low:high], block[:n]
        if _outside(here):
            continue
        for i in range(n):
            number[i] = 0
            lowest[i] = here[i] - alpha if here[i] > alpha else 1  # 1: the outside is no neighbour
            highest[i] = here[i] + alpha if here[i] < 32767 - alpha else 32767
        for d in range(offsets.size):
            back = flat[low - offsets[d] : high - offsets[d]]
            ahead = flat[low + offsets[d] : high + offsets[d]]
            for i in range(n):
                number[i] += np.int16((back[i] >= lowest[i]) & (back[i] <= highest[i]))
                number[i] += np.int16((ahead[i] >= lowest[i]) & (ahead[i] <= highest[i]))
        for i in range(n):
            counts[here[i], number[i]] += 1
    result = np.zeros((1, n_levels, 4 * offsets.size + 1))
    for i in range(n_levels):
        for j in range(counts.shape[1]):
            result[0, i, j] = counts[i + 1, j]
    return result


@njit(cache=True, nogil=True)
def _box_sums(flat, row, start, stop):  # type: ignore[no-untyped-def]
    """Level sum (low 20 bits) and voxel number (above) of the 3 x 3 voxels around each place, within its slice."""
    sums, block = np.zeros(flat.size, np.int32), np.empty(BLOCK + 2 * row, np.int32)
    for low in range(start, stop, BLOCK):
        high = min(low + BLOCK, stop)
        n = high - low
        left = flat[low - row - 1 : high + row - 1]
        here = flat[low - row : high + row]
        right = flat[low - row + 1 : high + row + 1]
        for i in range(n + 2 * row):
            number = np.int32(left[i] != 0) + np.int32(here[i] != 0) + np.int32(right[i] != 0)
            block[i] = np.int32(left[i]) + np.int32(here[i]) + np.int32(right[i]) + (number << np.int32(20))
        above, same, below, out = block[:n], block[row : row + n], block[2 * row : 2 * row + n], sums[low:high]
        for i in range(n):
            out[i] = above[i] + same[i] + below[i]
    return sums


@njit(cache=True, nogil=True)
def tone_differences(flat, row, plane, start, stop, n_levels):  # type: ignore[no-untyped-def]
    """NGTDM: (1, levels, [voxels, summed difference to the neighbours' mean, level]). ``plane`` 0: within slices.

    The differences are added in raster order, as the engine does: floating-point sums depend on it.
    """
    sums = _box_sums(flat, row, start, stop)
    result = np.zeros((1, n_levels, 3))
    for i in range(n_levels):
        result[0, i, 2] = i + 1
    step, low_bits = np.uint64(plane), (1 << 20) - 1
    for i in range(np.uint64(start), np.uint64(stop)):
        level = np.int64(flat[i])
        if level == 0:
            continue
        around = np.int64(sums[i])
        if plane:
            around += np.int64(sums[i - step]) + np.int64(sums[i + step])
        around -= level + low_bits + 1  # without the voxel itself
        number = around >> 20
        result[0, level - 1, 0] += 1
        if number:
            result[0, level - 1, 1] += abs(float(level) - float(around & low_bits) / float(number))
    return result


@njit(cache=True, nogil=True)
def _parts(pattern, adjacent):  # type: ignore[no-untyped-def]
    """One direction (+ 1, four bits each) of every part into which a set of neighbours falls; at most four parts."""
    packed, shift = 0, 0
    while pattern:
        first = pattern & -pattern
        part, before = first, 0
        while part != before:
            before = part
            for d in range(adjacent.size):
                if (before >> d) & 1:
                    part |= adjacent[d] & pattern
        packed |= (_lowest_bit(first) + 1) << shift
        shift += 4
        pattern &= ~part
    return packed


@njit(cache=True, nogil=True)
def _root(parent, zone):  # type: ignore[no-untyped-def]
    while parent[zone] != zone:
        parent[zone] = parent[parent[zone]]
        zone = parent[zone]
    return zone


@njit(cache=True, nogil=True)
def _join(parent, zone, packed, labels, steps, i):  # type: ignore[no-untyped-def]
    """Make one zone of ``zone`` and those of the neighbours in ``packed``; the smallest number stays the root."""
    zone = _root(parent, zone)
    while packed:
        other = _root(parent, labels[i - steps[packed & np.uint64(15)]])
        parent[max(zone, other)] = zone = min(zone, other)
        packed >>= np.uint64(4)
    return zone


@njit(cache=True, nogil=True)
def zones(flat, bits, offsets, adjacent, start, stop, n_voxels):  # type: ignore[no-untyped-def]
    """Level and size of each connected zone of one level. ``adjacent[d]``: the directions that touch direction d.

    Earlier neighbours of the same level that touch each other are one zone already, so that one of each part of them is
    looked at; which ones, is worked out once per pattern.
    """
    chosen = np.zeros(1 << offsets.size, np.uint16)
    steps = np.zeros(offsets.size + 1, np.uint64)
    for d in range(offsets.size):
        steps[d + 1] = np.uint64(offsets[d])
    labels = np.empty(flat.size, np.int32)
    parent, size, levels = np.empty(n_voxels, np.int32), np.zeros(n_voxels, np.int32), np.empty(n_voxels, np.int32)
    number = np.int32(0)
    for i in range(np.uint64(start), np.uint64(stop)):
        if flat[i] == 0:
            continue
        pattern = bits[i]
        if pattern == 0:
            zone = number
            parent[zone], levels[zone] = zone, flat[i]
            number = np.int32(number + 1)
        else:
            if chosen[pattern] == 0:
                chosen[pattern] = _parts(np.int64(pattern), adjacent)
            packed = np.uint64(chosen[pattern])
            zone = labels[i - steps[packed & np.uint64(15)]]
            packed >>= np.uint64(4)
            if packed:
                zone = _join(parent, zone, packed, labels, steps, i)
        labels[i] = zone
        size[zone] += 1
    for zone in range(number - 1, -1, -1):  # a parent has the smaller number: each total moves up once
        if parent[zone] != zone:
            size[parent[zone]] += size[zone]
            size[zone] = 0
    return levels[:number], size[:number]


@njit(cache=True, nogil=True)
def zone_table(levels, sizes, n_levels):  # type: ignore[no-untyped-def]
    """GLSZM with the sizes that occur, (1, levels, sizes), and these sizes. Size 0 marks a zone that was joined."""
    largest, number = 0, 0
    for k in range(sizes.size):
        largest = max(largest, sizes[k])
    column = np.zeros(largest + 1, np.int32)
    for k in range(sizes.size):
        column[sizes[k]] = 1
    present = np.empty(min(largest, sizes.size), np.int64)
    for size in range(1, largest + 1):
        if column[size]:
            present[number], column[size] = size, number
            number += 1
    result = np.zeros((1, n_levels, number))
    for k in range(sizes.size):
        if sizes[k]:
            result[0, levels[k] - 1, column[sizes[k]]] += 1
    return result, present[:number]


@njit(cache=True, nogil=True)
def digitise(values, edges, per_unit):  # type: ignore[no-untyped-def]
    """Number of edges that are <= each value: a guess from the spacing, then corrected against the edges themselves."""
    out = np.empty(values.size, np.int32)
    for i in range(values.size):
        value = values[i]
        level = min(max(int((value - edges[0]) * per_unit) + 1, 0), edges.size)
        while level < edges.size and edges[level] <= value:
            level += 1
        while level > 0 and edges[level - 1] > value:
            level -= 1
        out[i] = level
    return out
