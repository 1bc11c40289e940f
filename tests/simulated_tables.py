"""Small tables with a known effect, for tests of modelling and explanation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.modelling.columns import ColumnSpec

SITES = ("colon", "rectum", "other")


def noise_table(n: int, p: int, seed: int) -> pd.DataFrame:
    """n patients with p independent standard normal columns x0, x1, ..."""
    generator = np.random.default_rng(seed)
    patients = pd.Index([f"P{i:04d}" for i in range(n)], name="patient_id")
    return pd.DataFrame(generator.normal(size=(n, p)), index=patients, columns=[f"x{i}" for i in range(p)])


def mixed_table(n: int, seed: int, *, missing: float = 0.15) -> pd.DataFrame:
    """Numbers, a skewed marker, a boolean and a category, with missing cells."""
    generator = np.random.default_rng(seed)
    table = noise_table(n, 6, seed)
    table["cea"] = generator.lognormal(2, 1.2, n)
    table["node"] = pd.array(generator.random(n) < 0.5, dtype="boolean")
    table["site"] = generator.choice(SITES, n)
    table["sex"] = generator.choice(["female", "male"], n)
    for column in ("x0", "cea", "node", "site"):
        table.loc[generator.random(n) < missing, column] = None
    return table


MIXED_COLUMNS = (
    *(ColumnSpec(f"x{i}") for i in range(6)),
    ColumnSpec("cea", log=True),
    ColumnSpec("node", "boolean", keep=True),
    ColumnSpec("site", "category", SITES),
    ColumnSpec("sex", "category", ("female", "male")),
)
BLOCK_COLUMNS = tuple(
    replace(column, block="radiomics") if column.name in ("x0", "x1", "x2") else column for column in MIXED_COLUMNS
)
"""The same, some of them radiomic, for learners that need both blocks."""


def number_columns(p: int) -> tuple[ColumnSpec, ...]:
    """Columns of :func:`noise_table`."""
    return tuple(ColumnSpec(f"x{i}") for i in range(p))


def draw_outcome(linear: np.ndarray, seed: int, *, competing: bool = True) -> Outcome:
    """Exponential times with log hazard ``linear``, uniform censoring to 60 months, optionally a competing event."""
    generator = np.random.default_rng([seed, 7])
    n = linear.size
    event = generator.exponential(25 * np.exp(-linear))
    rival = generator.exponential(80, n) if competing else np.full(n, np.inf)
    censored = generator.uniform(6, 60, n)
    months = np.minimum(np.minimum(event, rival), censored)
    return make_outcome(np.where(months == event, 1, np.where(months == rival, 2, 0)), months)


def deal_folds(patients: pd.Index, *, folds: int, repeats: int, seed: int) -> pd.DataFrame:
    """Table ``folds``, unstratified."""
    generator = np.random.default_rng([seed, 11])
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "patient_id": patients,
                    "repeat": repeat,
                    "fold": generator.permutation(np.arange(len(patients)) % folds),
                }
            )
            for repeat in range(repeats)
        ],
        ignore_index=True,
    )
