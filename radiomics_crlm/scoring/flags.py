"""Warnings that go with a score: what was missing, and what lies outside of the data the model was fitted on.

A flag names a column and a rule, never a value. Each patient is judged alone, so the flags of one do not depend
on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from radiomics_crlm.modelling.design import InputSpec
from radiomics_crlm.schema import load_schema
from radiomics_crlm.scoring.bundle import InputSummary, TrainingSummary

WIDENING = 0.2
"""Share of the training range by which it is widened before a value counts as outside."""
UNIT_FACTOR = 10.0
"""A value off by this factor is more likely in another unit than a rare patient."""


def row_flags(
    table: pd.DataFrame,
    inputs: Sequence[InputSpec],
    training: TrainingSummary,
    *,
    more: Mapping[str, np.ndarray] | None = None,
) -> list[tuple[str, ...]]:
    """Flags of each row of a predictor table.

    Parameters
    ----------
    table
        One row per patient, one column per input (:func:`radiomics_crlm.modelling.design.assemble`).
    inputs
        The inputs.
    training
        What they looked like in the training data.
    more
        Further flags and the rows that have them (n booleans); they come last.

    Returns
    -------
    For each row its flags: ``missing:N`` (number of unknown inputs), ``imputed_over_half``, then by input
    ``out_of_range:COLUMN`` (beyond the training quantiles widened by 20 % of their distance),
    ``unit_suspicion:COLUMN`` (ten times off, as if given in another unit) and ``unknown_category:COLUMN`` (never
    seen in training), then ``more``.
    """
    count = np.column_stack([table[spec.name].isna().to_numpy(dtype=bool) for spec in inputs]).sum(axis=1)
    names = [("imputed_over_half",)]
    masks = [2 * count > len(inputs)]
    for spec in inputs:
        for name, where in _column_flags(table[spec.name], spec, training.inputs[spec.name]).items():
            names.append((f"{name}:{spec.name}",))
            masks.append(where)
    for name, where in (more or {}).items():
        names.append((name,))
        masks.append(where)
    # Rows of the same pattern share their words.
    raised = np.flatnonzero([mask.any() for mask in masks])
    pattern = count.astype(np.int64)
    for position in raised:
        pattern = pd.factorize(2 * pattern + masks[position])[0]
    first = np.unique(pattern, return_index=True)[1]
    words = []
    for row in first:
        missing = (f"missing:{count[row]}",) if count[row] else ()
        words.append(sum((names[position] for position in raised if masks[position][row]), missing))
    return [words[code] for code in np.searchsorted(np.unique(pattern), pattern)]


def _column_flags(cells: pd.Series, spec: InputSpec, summary: InputSummary) -> dict[str, np.ndarray]:
    if spec.kind == "category":
        return {"unknown_category": (cells.notna() & ~cells.isin(summary.seen)).to_numpy()}
    if spec.kind == "boolean":
        return {"unknown_category": _unseen_truth(cells, summary)}
    values = cells.to_numpy(dtype="float64")
    outside = out_of_range(values, summary)
    flags = {"out_of_range": outside}
    if spec.source == "clinical" and _has_unit(spec.name):
        flags["unit_suspicion"] = outside & unit_suspicion(values, summary)
    return flags


def _unseen_truth(cells: pd.Series, summary: InputSummary) -> np.ndarray:
    """True or false where training knew only the other."""
    share = summary.share_true
    if share is None:
        return cells.notna().to_numpy()
    unseen = [truth for truth, absent in ((True, share == 0), (False, share == 1)) if absent]
    return (cells.notna() & cells.isin(unseen)).to_numpy(dtype=bool)


def out_of_range(values: np.ndarray, summary: InputSummary) -> np.ndarray:
    """Whether each value lies beyond the widened training range; unknown values do not.

    >>> out_of_range(np.array([-3.0, -2.0, 12.0, 12.1, np.nan]), InputSummary(missing=0, low=0, high=10)).tolist()
    [True, False, False, True, False]
    """
    if summary.low is None or summary.high is None:
        return np.zeros(len(values), dtype=bool)
    margin = WIDENING * (summary.high - summary.low)
    return (values < summary.low - margin) | (values > summary.high + margin)


def unit_suspicion(values: np.ndarray, summary: InputSummary) -> np.ndarray:
    """Whether each value looks as if it were given in another unit.

    Ten times beyond an end of the training range; or, where that range is so narrow that a tenfold error cannot
    stay within it, a value that a factor of ten brings back into it (albumin in g/dL instead of g/L).

    >>> unit_suspicion(np.array([4.0, 40.0, 400.0, 60.0]), InputSummary(missing=0, low=28, high=50)).tolist()
    [True, False, True, False]
    """
    low, high = summary.low, summary.high
    if low is None or high is None or high <= 0:
        return np.zeros(len(values), dtype=bool)
    far = (values >= UNIT_FACTOR * high) | ((values > 0) & (values <= low / UNIT_FACTOR))
    if low <= 0 or high >= UNIT_FACTOR * low:
        return far
    up, down = values * UNIT_FACTOR, values / UNIT_FACTOR
    return far | ((low <= up) & (up <= high)) | ((low <= down) & (down <= high))


def _has_unit(column: str) -> bool:
    """Measured quantities; counts and scores have no unit that could be confused."""
    spec = load_schema("clinical").columns[column]
    return spec.type == "float" and bool(spec.unit)
