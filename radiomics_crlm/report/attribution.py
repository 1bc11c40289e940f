"""SHAP in summary: which inputs move the predicted risk, from the table ``attributions``.

The dot plot is kept as counts: dots fall into bins of attribution and thirds of the input, feature by feature, so no
dot can be traced to a patient or joined across features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.participants import clinical_spec
from radiomics_crlm.report.wording import fixed, main_clause, number

Part = dict[str, Any]

TOP = 15
BINS = 61
_WITHIN = 0.995
_MOST_DOTS = 300
LEVELS = ("low", "middle", "high", "missing")


def explanation(artefacts: Artefacts, endpoint: str, model: str | None) -> Part:
    """Mean absolute attribution of the strongest inputs of one model, with the binned attributions."""
    part: Part = {"endpoint": endpoint, "title": artefacts.endpoints[endpoint].title, "model": model}
    rows = artefacts.of_endpoint("attributions", endpoint)
    if rows is None:
        return part | {"absent": artefacts.why_absent("attributions")}
    explained = list(dict.fromkeys(rows["model"]))
    if model not in explained:
        return part | {"absent": "the model shown on this card was not explained"}
    rows = rows.loc[rows["model"] == model]
    strength = rows["attribution"].abs().groupby(rows["feature"]).mean()
    order = sorted(strength.index, key=lambda f: (-strength[f], f))
    top = [f for f in order[:TOP] if strength[f] > 0]
    if not top:
        return part | {"absent": "no input moves the predicted risk"}
    shown = rows.loc[rows["feature"].isin(top)]
    # The few values beyond are drawn at the edge: they would squeeze the others, and single out patients.
    reach = _round_up(float(shown["attribution"].abs().quantile(_WITHIN)) or float(shown["attribution"].abs().max()))
    patients = int(rows["patient_id"].nunique())
    per_dot = -(-patients // _MOST_DOTS)
    return part | {
        "model_title": artefacts.model_title(str(model)),
        "n": patients,
        "per_dot": per_dot,
        "inputs": len(order),
        "moving": int((strength > 0).sum()),
        "reach": reach,
        "bins": BINS,
        "features": [
            _feature(shown.loc[shown["feature"] == f], f, rank, reach, per_dot) for rank, f in enumerate(top, start=1)
        ],
    }


def _round_up(value: float) -> float:
    scale = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(round(np.ceil(value / scale) * scale, 10))


def _feature(rows: pd.DataFrame, feature: str, rank: int, reach: float, per_dot: int) -> Part:
    attribution = rows["attribution"].to_numpy(dtype=float)
    inputs = rows["input"].to_numpy(dtype=float, na_value=np.nan)
    position = np.clip(((attribution + reach) / (2 * reach) * BINS).astype(int), 0, BINS - 1)
    level = _levels(inputs)
    dots = [
        [
            int(b),
            {
                LEVELS[k]: -(-int(n) // per_dot)
                for k, n in enumerate(np.bincount(level[position == b], minlength=4))
                if n
            },
        ]
        for b in np.unique(position)
    ]
    mean = float(np.abs(attribution).mean())
    return {
        "rank": rank,
        "feature": feature,
        "meaning": _meaning(feature),
        "mean": mean,
        "mean_text": fixed(mean, 3),
        "direction": _direction(inputs, attribution),
        "dots": dots,
    }


def _levels(inputs: np.ndarray) -> np.ndarray:
    """Third of the input per row (0, 1, 2) or 3 where it is missing; a yes/no input has low and high only."""
    known = np.isfinite(inputs)
    level = np.full(inputs.size, 3)
    values = inputs[known]
    if np.unique(values).size == 2:
        level[known] = np.where(values == values.max(), 2, 0)
        return level
    share = (pd.Series(values).rank(method="average").to_numpy() - 0.5) / values.size
    level[known] = np.minimum((share * 3).astype(int), 2)
    return level


def _direction(inputs: np.ndarray, attribution: np.ndarray) -> str:
    """Rank correlation of input and attribution in words."""
    known = np.isfinite(inputs)
    if known.sum() < 3 or np.unique(inputs[known]).size < 2 or np.unique(attribution[known]).size < 2:
        return "not told"
    ranks = pd.DataFrame({"x": inputs[known], "y": attribution[known]}).rank()
    rho = number(np.corrcoef(ranks["x"], ranks["y"])[0, 1])
    if rho is None or abs(rho) < 0.3:
        return "mixed"
    return "higher input, event more likely" if rho > 0 else "higher input, event less likely"


def _meaning(feature: str) -> str:
    """Description and unit of the clinical column behind an input, if it is one."""
    column = feature.removesuffix(" (missing)").partition("=")[0]
    spec = clinical_spec(column)
    if spec is None:
        return ""
    return f"{main_clause(spec.description)}{f' ({spec.unit})' if spec.unit else ''}"
