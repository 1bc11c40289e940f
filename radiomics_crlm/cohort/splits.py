"""Outer folds: drawn once per cohort by patient, shared by all endpoints, models and rules."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from radiomics_crlm.errors import InputError


def outcome_strata(patient_ids: list[str], outcomes: Mapping[str, pd.DataFrame], *, folds: int) -> pd.Series:
    """One stratum per patient: the joint event status over all endpoints.

    Strata with fewer than ``folds`` patients are merged with the commonest one, so that every fold can hold every
    stratum.
    """
    status = pd.DataFrame(index=pd.Index(patient_ids, name="patient_id"))
    for name, table in outcomes.items():
        status[name] = table.set_index("patient_id")["event"].astype(str).reindex(status.index).fillna("-")
    stratum = status.agg("".join, axis=1) if len(status.columns) else pd.Series("", index=status.index)
    counts = stratum.value_counts()
    commonest = sorted(counts[counts == counts.max()].index)[0]
    return stratum.where(stratum.map(counts) >= folds, commonest)


def draw_folds(stratum: pd.Series, *, folds: int, repeats: int, seed: int) -> pd.DataFrame:
    """Outer fold of each patient in each repeat (schema ``folds``).

    Parameters
    ----------
    stratum
        Stratum per patient, indexed by patient key. The order of the rows does not matter.
    folds, repeats, seed
        Number of folds, of repeats, and the seed.

    Raises
    ------
    InputError
        If there are fewer patients than folds, or a key stands there twice.
    """
    if stratum.index.has_duplicates:
        raise InputError("a patient stands twice in the list to be split", expected="unique patient keys")
    if len(stratum) < folds:
        raise InputError(
            "too few patients for the design", expected=f"at least {folds}", got=f"{len(stratum)} patients"
        )
    ordered = stratum.sort_index()
    parts = []
    for repeat in range(repeats):
        splitter = StratifiedKFold(folds, shuffle=True, random_state=np.random.RandomState([seed, repeat]))
        fold = np.empty(len(ordered), dtype=np.int64)
        for number, (_, test) in enumerate(splitter.split(ordered.index, ordered.to_numpy())):
            fold[test] = number
        parts.append(pd.DataFrame({"patient_id": ordered.index, "repeat": repeat, "fold": fold}))
    return pd.concat(parts, ignore_index=True)
