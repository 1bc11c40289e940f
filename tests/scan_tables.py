"""Small feature tables of several scans per patient, for tests of feature sets."""

from __future__ import annotations

import numpy as np
import pandas as pd

KEY = ["patient_id", "timepoint", "modality", "sequence"]
CT, MR = ("CT", "portal_venous"), ("MR", "hbp")
TEXTURES = tuple(f"largest__original_glcm_{name}" for name in ("Contrast", "Energy", "Entropy"))
BURDEN = ("burden__n_lesions", "burden__total_volume_ml", "burden__largest_axial_mm")


def features(
    n: int, *, kinds: tuple[tuple[str, str], ...] = (CT, MR), timepoints: tuple[str, ...] = ("baseline", "restaging"),
    without: dict[tuple[str, str], int] | None = None, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Table ``features_patient`` of n patients; the last ``without[kind]`` of them lack the scans of a kind."""
    tables = []
    for number, kind in enumerate(kinds):
        for moment, timepoint in enumerate(timepoints):
            generator = np.random.default_rng([seed, number, moment])
            rows = pd.DataFrame({"patient_id": [f"P{i:03d}" for i in range(n)]})
            rows = rows.assign(timepoint=timepoint, modality=kind[0], sequence=kind[1])
            values = generator.lognormal(0, 1, (n, len(TEXTURES)))
            rows[list(TEXTURES)] = values
            rows["burden__n_lesions"] = pd.array(generator.integers(1, 9, n), dtype="Int64")
            rows["burden__total_volume_ml"] = generator.lognormal(3, 1, n)
            rows["burden__largest_axial_mm"] = generator.uniform(10, 90, n)
            tables.append(rows.iloc[: n - (without or {}).get(kind, 0)])
    return pd.concat(tables, ignore_index=True)


def charts(n: int, *, seed: int = 1) -> pd.DataFrame:
    """A clinical table of the same patients with one predictor."""
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {"patient_id": [f"P{i:03d}" for i in range(n)], "cea_ng_ml": generator.lognormal(2, 1, n)}
    ).astype({"patient_id": "str"})
