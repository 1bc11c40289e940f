"""The shape of an input in a cohort: how many patients lie in each bin or category, and how many have no value.

Bins hold at least five training patients each, and their edges lie between the values of patients, never on one. Names
of scanners and centres are kept as hashes: that they differ is all that matters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from radiomics_crlm.modelling.design import InputSpec
from radiomics_crlm.provenance.files import sha256_bytes
from radiomics_crlm.scoring.reference import InputShape, ShiftReference

BINS = 10
SMALLEST = 5
"""Training patients in a bin or category, at least."""
SCAN_COLUMNS = {
    "centre": "category",
    "scanner": "category",
    "slice_thickness_mm": "number",
    "contrast_delay_s": "number",
}
"""Columns of the clinical table that say how and where patients were scanned, where a cohort has them."""
_MOST_LEVELS = 50
_BOOLEAN = ("true", "false")


def describe_shift(
    table: pd.DataFrame, inputs: Sequence[InputSpec], scans: pd.DataFrame | None = None
) -> ShiftReference:
    """The shape of each input in the training data, for a bundle.

    Parameters
    ----------
    table
        Training predictors, one column per input.
    inputs
        The inputs.
    scans
        Clinical table of the same patients, of which ``SCAN_COLUMNS`` are taken that are no inputs.
    """
    shapes = {spec.name: _shape(table[spec.name], spec) for spec in inputs}
    found: dict[str, InputShape] = {}
    for name, kind in SCAN_COLUMNS.items():
        if scans is not None and name in scans and name not in shapes and scans[name].notna().any():
            cells = scans[name]
            found[name] = _number(cells) if kind == "number" else _category(coded(cells))
    return ShiftReference(patients=len(table), inputs=shapes, scans=found)


def count(cells: pd.Series, shape: InputShape) -> tuple[int, ...]:
    """Cells in each bin or category of a shape (the last: in none of them); missing cells are in none.

    >>> shape = InputShape(missing=0, counts=(5, 5), edges=(1.5,))
    >>> count(pd.Series([1.0, 2.0, 3.0, np.nan]), shape)
    (1, 2)
    """
    if len(shape.counts) == 1:
        return (int(cells.notna().sum()),)
    if shape.edges:
        values = numbers(cells)
        bins = np.searchsorted(np.array(shape.edges), values, side="right")
        return tuple(np.bincount(bins, minlength=len(shape.counts)).tolist())
    known = cells.dropna()
    text = _truth(known) if shape.levels == _BOOLEAN else known.astype(str)
    where = pd.Index(shape.levels).get_indexer(pd.Index(text))
    return tuple(np.bincount(np.where(where < 0, len(shape.levels), where), minlength=len(shape.counts)).tolist())


def numbers(cells: pd.Series) -> np.ndarray:
    """Known and finite values of a column."""
    values = cells.to_numpy(dtype="float64", na_value=np.nan)
    return values[np.isfinite(values)]


def coded(cells: pd.Series) -> pd.Series:
    """Names as the first letters of their hash; unknown ones stay unknown."""
    codes = {name: sha256_bytes(str(name).strip().encode("utf-8"))[:12] for name in cells.dropna().unique()}
    return cells.map(codes, na_action="ignore")


def _shape(cells: pd.Series, spec: InputSpec) -> InputShape:
    if spec.kind == "number":
        return _number(cells)
    if spec.kind == "boolean":
        known = _truth(cells.dropna())
        counts = (int((known == "true").sum()), int((known == "false").sum()), 0)
        return InputShape(missing=int(cells.isna().sum()), counts=counts, levels=_BOOLEAN)
    return _category(cells)


def _category(cells: pd.Series) -> InputShape:
    """Categories of five patients and more; the others are one."""
    known = cells.dropna().astype(str).value_counts()
    kept = sorted(known[known >= SMALLEST].index[:_MOST_LEVELS])
    counts = [int(known[level]) for level in kept]
    rest = int(known.sum()) - sum(counts)
    return InputShape(missing=int(cells.isna().sum()), counts=(*counts, rest), levels=tuple(kept))


def _number(cells: pd.Series) -> InputShape:
    values = np.sort(numbers(cells))
    missing, fifth = len(cells) - values.size, values.size // 10
    edges = _edges(values)
    middle = None
    if 2 * fifth >= SMALLEST:
        centre = values.size // 2
        middle = float(f"{values[centre - fifth : centre + fifth].mean():.4g}")
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return InputShape(missing=missing, counts=tuple(counts.tolist()), edges=tuple(edges), middle=middle)


def _edges(values: np.ndarray) -> list[float]:
    """Edges near the deciles of sorted values, each between two of them, with five patients in each bin at least."""
    bins = min(BINS, values.size // SMALLEST)
    below = np.flatnonzero(np.diff(values) > 0) + 1  # patients below each possible edge
    edges, last = [], 0
    for k in range(1, bins):
        possible = below[(below >= last + SMALLEST) & (below <= values.size - SMALLEST)]
        if not possible.size:
            break
        here = int(possible[np.abs(possible - values.size * k / bins).argmin()])
        edge = _between(float(values[here - 1]), float(values[here]))
        if edge is None or abs(here - values.size * k / bins) > values.size / bins:
            continue
        edges.append(edge)
        last = here
    return edges


def _between(low: float, high: float) -> float | None:
    """A number strictly between two, short if possible."""
    middle = low / 2 + high / 2
    for candidate in (float(f"{middle:.5g}"), middle):
        if low < candidate < high:
            return candidate
    return None


def _truth(known: pd.Series) -> pd.Series:
    return known.astype(bool).map({True: "true", False: "false"})
