"""Tables that explain the models of ``run_folder``: those that a run makes besides the attributions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from run_folder import CLINICAL

from radiomics_crlm.explanation.groups import GROUP_COLUMNS, group_importance
from radiomics_crlm.explanation.stability import attribution_stability
from radiomics_crlm.provenance.tables import read_table, write_table

MODEL = "combined/ridge"
LEVELS = ("right_colon", "left_colon", "rectum")


def write_explanations(out: Path, rng: np.random.Generator) -> None:
    """Write all of them to a run folder that has ``attributions`` and ``folds``."""
    attributions, folds = (read_table(out / "tables" / f"{n}.parquet", n) for n in ("attributions", "folds"))
    first = folds[folds["repeat"] == 0].set_index("patient_id")["fold"]
    parts = [part.reset_index(drop=True) for _, part in attributions.groupby("endpoint", sort=False)]
    made = {
        "attribution_stability": [attribution_stability(part, first) for part in parts],
        "input_groups": [_groups(part) for part in parts],
        "probability_attributions": [_probabilities(part) for part in parts],
        "dependence": [_dependence(rng, str(part["endpoint"].iloc[0])) for part in parts],
        "nomogram_points": [_points(str(part["endpoint"].iloc[0])) for part in parts],
        "nomogram_totals": [_totals(str(part["endpoint"].iloc[0])) for part in parts],
    }
    for name, tables in made.items():
        write_table(pd.concat(tables, ignore_index=True), out / "tables" / f"{name}.parquet", name)


def _groups(attributions: pd.DataFrame) -> pd.DataFrame:
    """Features of the same kind are one group, and so are CEA and whether it is missing."""
    features = list(dict.fromkeys(attributions["feature"]))
    names = [f.rpartition("_")[2] if "__" in f else f.partition(" ")[0] for f in features]
    group = pd.factorize(np.array(names, dtype=object))[0]
    wide = attributions.pivot(index="patient_id", columns="feature", values="attribution")[features].to_numpy()
    table = pd.DataFrame(
        {
            "endpoint": attributions["endpoint"].iloc[0],
            "model": MODEL,
            "feature": features,
            "block": ["radiomics" if "__" in f else "clinical" for f in features],
            "group": group,
            "importance": np.abs(wide).mean(axis=0),
            "group_importance": group_importance(wide, group)[group],
        }
    )
    return table[GROUP_COLUMNS]


def _probabilities(attributions: pd.DataFrame) -> pd.DataFrame:
    parts = [attributions.assign(months=m, attribution=attributions["attribution"] * 0.2) for m in (12.0, 24.0)]
    return pd.concat(parts, ignore_index=True).drop(columns="input")


def _dependence(rng: np.random.Generator, endpoint: str) -> pd.DataFrame:
    parts = []
    for column in ("cea_ng_ml", "age_years", "primary_site"):
        levels = list(LEVELS) if column == "primary_site" else [None] * 9
        count = len(levels)
        mean = np.linspace(0.2, 0.6, count)
        supported = np.ones(count)
        supported[[0, -1]] = 0.0
        sizes = rng.integers(20, 60, count).astype(float)
        parts.append(
            pd.DataFrame(
                {
                    "column": column, "part": "curve", "position": np.arange(count), "level": levels, "mean": mean,
                    "value": np.nan if levels[0] else np.arange(count) * 5.0, "low": mean - 0.1, "high": mean + 0.17,
                    "supported": supported, "n": np.where(supported == 1, sizes, np.nan) if levels[0] else np.nan,
                }
            )
        )  # fmt: skip
        if levels[0] is None:
            parts.append(
                pd.DataFrame(
                    {
                        "column": column, "part": "bin", "position": np.arange(4), "value": 5.0 + 7.5 * np.arange(4),
                        "until": 12.5 + 7.5 * np.arange(4), "n": rng.integers(6, 40, 4).astype(float),
                    }
                )
            )  # fmt: skip
    table = pd.concat(parts, ignore_index=True).assign(endpoint=endpoint, model=MODEL, months=24.0)
    return table.assign(until=table["until"].astype(float), level=table["level"].astype(object))


def _points(endpoint: str) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for column, top in zip(
        (*CLINICAL[:4], "largest__original_glcm_Contrast"), (100.0, 71.3, 44.0, 18.9, 9.7), strict=True
    ):
        rows += [
            {
                "column": column, "kind": "logarithm" if column == "cea_ng_ml" else "number", "position": k,
                "value": 10.0 * k, "level": None, "points": round(top * k / 4, 1), "slope": top / 40, "offset": 0.0,
                "filled": 13.0, "points_filled": round(13.0 * top / 40, 1),
            }
            for k in range(5)
        ]  # fmt: skip
    for column, kind, top in (("bilobar", "boolean", 31.4), ("cea_ng_ml (missing)", "missing", 3.2)):
        rows += [
            {
                "column": column, "kind": kind, "position": k, "value": float(k), "level": level, "points": top * k,
                "points_filled": 0.0 if kind == "boolean" else np.nan,
            }
            for k, level in enumerate(("no", "yes"))
        ]  # fmt: skip
    table = pd.DataFrame(rows).assign(endpoint=endpoint, model=MODEL)
    return table.assign(level=table["level"].astype(object))


def _totals(endpoint: str) -> pd.DataFrame:
    total = np.arange(0.0, 281.0, 5.0)
    parts = [
        pd.DataFrame(
            {"months": m, "total": total, "probability": 1 / (1 + np.exp(4.0 - shift - total / 40)), "rounding": 0.0041}
        )
        for m, shift in ((12.0, 0.0), (24.0, 0.8), (36.0, 1.3))
    ]
    return pd.concat(parts, ignore_index=True).assign(endpoint=endpoint, model=MODEL)
