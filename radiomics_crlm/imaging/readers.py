"""The same lesions drawn by another reader, brought to the labels of the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from radiomics_crlm.imaging.geometry import Volume


def relabelled(reference: Volume, drawn: Volume) -> Volume:
    """The lesions of a reader under the labels of the reference lesions they overlap with.

    Lesions are paired one to one so that the sum of their Dice coefficients is largest; those that overlap with no
    reference lesion, or of which another one is paired with it, are left out. A reference lesion that the reader did
    not draw is not in the result.

    Parameters
    ----------
    reference, drawn
        Label masks on one grid.

    Examples
    --------
    >>> identity = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
    >>> mask = lambda *labels: Volume(np.array([[labels]]), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), identity)
    >>> relabelled(mask(1, 1, 0, 2, 2, 3), mask(0, 7, 7, 5, 0, 0)).array.tolist()
    [[[0, 1, 1, 2, 0, 0]]]
    """
    wanted, found = (np.unique(mask.array[mask.array > 0]) for mask in (reference, drawn))
    both = (reference.array > 0) & (drawn.array > 0)
    if not both.any():
        return replace(drawn, array=np.zeros_like(reference.array))
    shared = np.zeros((len(wanted), len(found)))
    pairs = (np.searchsorted(wanted, reference.array[both]), np.searchsorted(found, drawn.array[both]))
    np.add.at(shared, pairs, 1)
    sizes = [
        np.array([(mask.array == n).sum() for n in labels]) for mask, labels in ((reference, wanted), (drawn, found))
    ]
    dice = 2 * shared / (sizes[0][:, None] + sizes[1][None, :])
    rows, columns = linear_sum_assignment(dice, maximize=True)
    table = np.zeros(int(found.max()) + 1, dtype=reference.array.dtype)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if shared[row, column]:
            table[found[column]] = wanted[row]
    return replace(drawn, array=table[drawn.array])
