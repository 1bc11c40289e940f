"""Calibration at every horizon: smooth curves, and the metrics of the table ``horizon_metrics``."""

from __future__ import annotations

from typing import Any

import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, absent, column, estimate, figure, group, heading, row, section, table
from radiomics_crlm.report.followed import by_horizon, followed, model_order
from radiomics_crlm.report.wording import METRIC_DECIMALS, METRIC_TITLES, SMALL_CELL, fixed, months_text

_COLUMNS = (
    ("auc_horizon", "0.5 is chance, 1 perfect"),
    ("brier_scaled", "0 = no model, 1 perfect"),
    ("observed_expected", "1 is ideal; below 1: risks too high"),
    ("calibration_slope", "1 is ideal; below 1: too extreme"),
    ("ici", "mean distance from the diagonal"),
    ("e50", "median distance"),
    ("e90", "90th percentile of the distance"),
)
_DECIMALS = METRIC_DECIMALS | {"ici": 3, "e50": 3, "e90": 3}
_OPEN = 12
_CURVE_POINTS = 3


def horizons(artefacts: Artefacts, _: Part) -> Part:
    """Smooth calibration curves and the metrics at every horizon, endpoint by endpoint."""
    blocks: list[Part] = []
    for name, config in artefacts.endpoints.items():
        blocks.append(heading(f"{config.title}: at the horizons"))
        blocks += [_curves(artefacts, name), _metrics(artefacts, name)]
    return section(blocks)


def _curves(artefacts: Artefacts, endpoint: str) -> Part:
    what = "Smooth calibration curves"
    rows = artefacts.of_endpoint("calibration_curves", endpoint)
    if rows is None:
        return absent(what, artefacts.why_absent("calibration_curves"))
    chosen = followed(artefacts, endpoint, rows["model"])
    panels = []
    for months, here in by_horizon(rows):
        found = [_curve(artefacts, endpoint, model, here) for model in chosen]
        curves = [curve for curve in found if curve is not None]
        if curves:
            panels.append({"title": months_text(months), "months": months, "curves": curves})
    if not panels:
        return absent(what, f"no curve has {SMALL_CELL} patients beyond each of its ends")
    config = artefacts.endpoints[endpoint]
    return figure(
        "calibration_curves",
        f"Smooth calibration: {config.title}",
        f"Observed incidence as a smooth function of the predicted probability, out of fold; the band is the 95 % "
        f"interval of the first curve. A curve ends where fewer than {SMALL_CELL} patients lie beyond.",
        {"panels": panels},
        narrow=len(panels) == 1,
    )


def _curve(artefacts: Artefacts, endpoint: str, model: str, here: pd.DataFrame) -> Part | None:
    """One curve, cut off where it would show the prediction of single patients."""
    own = here.loc[here["model"] == model].dropna(subset=["observed", "lower", "upper"]).sort_values("predicted")
    if own.empty:
        return None
    limits = _inner_range(artefacts, endpoint, model, int(own["horizon_months"].iloc[0]))
    if limits is None:
        return None
    own = own.loc[own["predicted"].between(*limits)]
    if len(own) < _CURVE_POINTS:
        return None
    values = {k: [round(float(v), 3) for v in own[k]] for k in ("predicted", "observed", "lower", "upper")}
    title = artefacts.model_title(model)
    ends = [f"predicted {fixed(values['predicted'][k])}, observed {fixed(values['observed'][k])}" for k in (0, -1)]
    described = f"{title} from {ends[0]} to {ends[1]}"
    return {"model": model, "title": title, "n": int(own["n"].iloc[0]), "described": described} | values


def _inner_range(artefacts: Artefacts, endpoint: str, model: str, months: int) -> tuple[float, float] | None:
    """Between the fifth lowest and the fifth highest patient."""
    for name in ("predictions", "rule_predictions"):
        rows = artefacts.of_endpoint(name, endpoint)
        column_name = f"probability_{months}m"
        if rows is None or column_name not in rows:
            continue
        known = rows.loc[rows["model"] == model].dropna(subset=[column_name])
        if len(known):
            by_patient = known.groupby("patient_id")[column_name]
            low, high = by_patient.min().sort_values(), by_patient.max().sort_values()
            if len(low) < 2 * SMALL_CELL:
                return None
            return float(low.iloc[SMALL_CELL]), float(high.iloc[-SMALL_CELL - 1])
    return None


def _metrics(artefacts: Artefacts, endpoint: str) -> Part:
    rows = artefacts.of_endpoint("horizon_metrics", endpoint)
    title = artefacts.endpoints[endpoint].title
    if rows is None:
        return absent(f"Metrics at the horizons: {title}", artefacts.why_absent("horizon_metrics"))
    present = [(metric, trait) for metric, trait in _COLUMNS if (rows["metric"] == metric).any()]
    chosen = followed(artefacts, endpoint, rows["model"])
    groups = []
    for months, here in by_horizon(rows):
        lines = [
            _line(artefacts, here.loc[here["model"] == model], model, [m for m, _ in present], chosen)
            for model in model_order(artefacts, here["model"])
        ]
        groups.append(group(lines, f"By {months_text(months)}"))
    count = sum(len(g["rows"]) for g in groups)
    return table(
        f"Ranking and calibration at the horizons, with 95 % intervals: {title}",
        "Model or score",
        [column("n"), column("Events"), *(column(METRIC_TITLES[m], trait) for m, trait in present)],
        groups,
        fold=f"Metrics at the horizons: {title}" if count > _OPEN else "",
    )


def _line(artefacts: Artefacts, own: pd.DataFrame, model: str, metrics: list[str], chosen: list[str]) -> Part:
    by_metric: dict[str, dict[Any, Any]] = {str(r["metric"]): r for r in own.to_dict("records")}
    first = next(iter(by_metric.values()))
    base = [{"text": str(int(first[k])), "value": int(first[k])} for k in ("n", "events")]
    cells = [estimate(by_metric.get(metric), decimals=_DECIMALS.get(metric, 2)) for metric in metrics]
    kind = "" if artefacts.is_model(model) else "score"
    return row(artefacts.model_title(model), [*base, *cells], under=kind, strong=bool(chosen) and model == chosen[0])
