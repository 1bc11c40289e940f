"""Outer folds: drawn once per cohort by patient, shared by all endpoints, models and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from radiomics_crlm.errors import InputError

NOT_IN_ENDPOINT = "-"


def outcome_status(patient_ids: Sequence[str], outcomes: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Event status per patient (index) and endpoint, to balance folds; ``-`` where the endpoint has no row."""
    status = pd.DataFrame(index=pd.Index(patient_ids, name="patient_id"))
    for name, table in outcomes.items():
        known = table.set_index("patient_id")["event"].astype(str)
        status[name] = known.reindex(status.index).fillna(NOT_IN_ENDPOINT)
    return status


def draw_folds(status: pd.DataFrame, *, folds: int, repeats: int, seed: int) -> pd.DataFrame:
    """Outer fold of each patient in each repeat (schema ``folds``).

    Systematic sampling: patients are sorted by status (the endpoint with the fewest events first, ties at random) and
    dealt to the folds in turn. Fold sizes differ by at most one, and so does the number of patients of each status of
    that endpoint; the other endpoints are balanced within its classes.

    Parameters
    ----------
    status
        Event status per patient (index) and endpoint (columns). The order of the rows does not matter.
    folds, repeats, seed
        Number of folds, of repeats, and the seed.

    Raises
    ------
    InputError
        If there are fewer patients than folds, or a key stands there twice.
    """
    if status.index.has_duplicates:
        raise InputError("a patient stands twice in the list to be split", expected="unique patient keys")
    if len(status) < folds:
        raise InputError("too few patients for the design", expected=f"at least {folds}", got=f"{len(status)} patients")
    ordered = status.sort_index()
    scarcest = sorted(ordered.columns, key=lambda name: (_rarest(ordered.loc[:, name]), name))
    codes = [pd.factorize(ordered[name], sort=True)[0] for name in scarcest]
    parts = []
    for repeat in range(repeats):
        generator = np.random.default_rng([seed, repeat])
        # lexsort takes its last key first.
        order = np.lexsort([generator.random(len(ordered)), *reversed(codes)])
        fold = np.empty(len(ordered), dtype=np.int64)
        fold[order] = generator.permutation(folds)[np.arange(len(ordered)) % folds]
        parts.append(pd.DataFrame({"patient_id": ordered.index, "repeat": repeat, "fold": fold}))
    return pd.concat(parts, ignore_index=True)


def _rarest(column: pd.Series) -> int:
    """Patients with the event, or without it, whichever are fewer."""
    return min(int((column == "1").sum()), int((~column.isin(("1", NOT_IN_ENDPOINT))).sum()))
