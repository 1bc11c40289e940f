"""The numbers of the experiment report, endpoint by endpoint, as plain data taken from the saved tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.performance import primary_metric
from radiomics_crlm.report.study_figures import MOST_CURVES
from radiomics_crlm.report.verdicts import answer_sentence
from radiomics_crlm.report.wording import (
    ARM_TITLES,
    METRIC_DECIMALS,
    METRIC_TITLES,
    NO_VALUE,
    deciding_decimals,
    fixed,
    interval,
    number,
    p_text,
)

Part = dict[str, Any]

_PERFORMANCE = ("c_index_uno", "c_index_competing", "auc_horizon", "brier", "brier_scaled", "observed_expected",
                "calibration_slope")  # fmt: skip
_CALIBRATION = ("auc_horizon", "brier", "observed_expected", "calibration_slope", "calibration_intercept", "ici")
_DECIMALS = {**METRIC_DECIMALS, "ici": 3}
_REFERENCES = ("treat_all", "treat_none")


def model_names(artefacts: Artefacts, endpoint: str) -> list[str]:
    """Models in the order of the metrics, then scores."""
    rows = artefacts.of_endpoint("metrics", endpoint)
    names = [] if rows is None else [str(name) for name in dict.fromkeys(rows["model"])]
    return sorted(names, key=lambda name: "/" not in name)


def title_of(artefacts: Artefacts, model: str) -> str:
    """A model or score in words; models of feature sets that the pipeline made itself keep their name."""
    title = artefacts.model_title(model)
    return title.replace("_", " ").replace("/", ", ") if title == model else title


def performance(artefacts: Artefacts, endpoint: str) -> Part:
    """All models and scores in the metrics that matter most: ``columns`` and ``rows`` of texts."""
    metrics = artefacts.of_endpoint("metrics", endpoint)
    if metrics is None:
        return {"absent": artefacts.why_absent("metrics")}
    first = primary_metric(artefacts.endpoints[endpoint])
    present = {str(metric) for metric in metrics["metric"]}
    columns = [m for m in (first, f"{first}_folds", f"{first}_whole", *_PERFORMANCE) if m in present]
    rows = []
    for name in model_names(artefacts, endpoint):
        own = metrics.loc[metrics["model"] == name].set_index("metric")
        leading = own.loc[[first]].iloc[0] if first in own.index else own.iloc[0]
        cells = [_cell(own, metric) for metric in columns]
        rows.append({"model": name, "title": title_of(artefacts, name), "score": "/" not in name,
                     "n": int(leading["n"]), "events": int(leading["events"]), "cells": cells})  # fmt: skip
    return {"columns": [METRIC_TITLES[m] for m in columns], "rows": rows}


def forest_rows(artefacts: Artefacts, endpoint: str) -> list[Part]:
    """Rows of the forest plot: the statistic of the endpoint for every model and score that has it."""
    metrics = artefacts.of_endpoint("metrics", endpoint)
    if metrics is None:
        return []
    own = metrics.loc[metrics["metric"] == primary_metric(artefacts.endpoints[endpoint])].set_index("model")
    rows = []
    for name in model_names(artefacts, endpoint):
        if name in own.index and number(own.loc[name, "estimate"]) is not None:
            values = {key: number(own.loc[name, key]) for key in ("estimate", "lower", "upper")}
            kind = "model" if "/" in name else "score"
            text = interval(values["estimate"], values["lower"], values["upper"])
            rows.append({"title": title_of(artefacts, name), "kind": kind, "text": text, **values})
    return rows


def calibration(artefacts: Artefacts, endpoint: str) -> Part:
    """Calibration and errors of the probabilities at each horizon, for everything that gives probabilities."""
    table = artefacts.of_endpoint("horizon_metrics", endpoint)
    if table is None:
        return {"absent": artefacts.why_absent("horizon_metrics")}
    columns = [m for m in _CALIBRATION if m in set(table["metric"])]
    rows = []
    for name in model_names(artefacts, endpoint):
        for months in sorted(table["horizon_months"].unique()):
            own = table.loc[(table["model"] == name) & (table["horizon_months"] == months)].set_index("metric")
            if "brier" in own.index:
                cells = [_cell(own, metric) for metric in columns]
                rows.append({"title": title_of(artefacts, name), "months": float(months), "cells": cells})
    if not rows:
        return {"absent": "nothing gives probabilities"}
    return {"columns": [METRIC_TITLES[m] for m in columns], "rows": rows}


def _cell(own: pd.DataFrame, metric: str) -> str:
    if metric not in own.index:
        return NO_VALUE
    estimate, lower, upper = (number(own.loc[metric, key]) for key in ("estimate", "lower", "upper"))
    return NO_VALUE if estimate is None else interval(estimate, lower, upper, _DECIMALS.get(metric, 2))


def differences(artefacts: Artefacts, endpoint: str) -> Part:
    """Paired differences that answer a question: each model with each score, and models of one learner with each other.

    Those with models that the study made itself stand apart as ``controls``. All other pairs were computed too;
    ``computed`` says how many, because the correction counts them.
    """
    table = artefacts.of_endpoint("comparisons", endpoint)
    if table is None:
        return {"absent": artefacts.why_absent("comparisons")}
    first = primary_metric(artefacts.endpoints[endpoint])
    table = table.loc[table["metric"] == first]
    rows = [_difference(artefacts, row) for row in table.to_dict("records") if _asked(row)]
    return {"metric": METRIC_TITLES[first], "rows": [row for row in rows if not row["control"]],
            "controls": [row for row in rows if row["control"]], "computed": len(table)}  # fmt: skip


def _asked(row: Mapping[Any, Any]) -> bool:
    model, reference = str(row["model"]), str(row["reference"])
    scores = ("/" not in model) + ("/" not in reference)
    return scores == 1 or (scores == 0 and model.partition("/")[2] == reference.partition("/")[2])


def _difference(artefacts: Artefacts, row: Mapping[Any, Any]) -> Part:
    model, reference, sign = str(row["model"]), str(row["reference"]), 1.0
    values = {key: number(row[key]) for key in ("difference", "lower", "upper")}
    if "/" not in model:  # a model stands first, its score second
        model, reference, sign = reference, model, -1.0
    if sign < 0:
        turned = {key: None if value is None else -value for key, value in values.items()}
        values = {"difference": turned["difference"], "lower": turned["upper"], "upper": turned["lower"]}
    lower, upper = values["lower"], values["upper"]
    decimals = deciding_decimals((lower, upper), 3)
    return {
        "model": model,
        "reference": reference,
        "model_title": title_of(artefacts, model),
        "reference_title": title_of(artefacts, reference),
        "against_score": "/" not in reference,
        "control": not {name.partition("/")[0] for name in (model, reference) if "/" in name}
        <= set(artefacts.experiment.feature_sets),
        "n": int(row["n"]),
        "events": int(row["events"]),
        **values,
        "text": interval(values["difference"], lower, upper, decimals, signed=True),
        "p_permutation": p_text(number(row.get("p_permutation"))),
        "p_holm": p_text(number(row.get("p_holm"))),
        "holm": number(row.get("p_holm")),
    }


def samples(artefacts: Artefacts) -> list[Part]:
    """Rows of the sample-size panel."""
    table = artefacts.tables.get("sample_size")
    sets = artefacts.experiment.feature_sets
    return [
        {
            "endpoint": artefacts.endpoints[row["endpoint"]].title,
            "feature_set": sets[row["feature_set"]].title
            if row["feature_set"] in sets
            else str(row["feature_set"]).replace("_", " "),
            "n": int(row["n"]),
            "events": int(row["events"]),
            "parameters": int(row["parameters"]),
            "events_per_parameter": fixed(float(row["events_per_parameter"]), 1),
            "n_required": int(row["n_required"]),
            "shrinkage": fixed(float(row["shrinkage_expected"]), 2),
            "sufficient": "yes" if row["sufficient"] else "no",
        }
        for row in ([] if table is None else table.to_dict("records"))
        if row["endpoint"] in artefacts.endpoints
    ]


def shown_models(artefacts: Artefacts, endpoint: str, shown: str) -> list[str]:
    """Models drawn beside the one of the report: those of the same learner on the other declared feature sets."""
    learner = shown.partition("/")[2]
    present = set(model_names(artefacts, endpoint))
    others = [f"{name}/{learner}" for name in artefacts.experiment.feature_sets if f"{name}/{learner}" != shown]
    return [name for name in (shown, *others) if name in present][:MOST_CURVES]


def calibration_panels(artefacts: Artefacts, endpoint: str, models: list[str]) -> list[Part]:
    """Smooth calibration curves of some models, by horizon."""
    table = artefacts.of_endpoint("calibration_curves", endpoint)
    columns = ("predicted", "observed", "lower", "upper")
    panels: list[Part] = []
    if table is None:
        return panels
    for months in sorted(table["horizon_months"].unique()):
        curves = []
        for name in models:
            own = table.loc[(table["model"] == name) & (table["horizon_months"] == months)].dropna(subset="observed")
            if len(own) > 1:
                own = own.sort_values("predicted")
                values = {key: [_rounded(v) for v in own[key]] for key in columns}
                curves.append({"title": title_of(artefacts, name), **values})
        if curves:
            panels.append({"months": float(months), "curves": curves})
    return panels


def decision_panels(artefacts: Artefacts, endpoint: str, models: list[str]) -> list[Part]:
    """Decision curves of some models and of the scores with probabilities, by horizon, with treating all and none."""
    table = artefacts.of_endpoint("decision_curves", endpoint)
    panels: list[Part] = []
    if table is None:
        return panels
    for months in sorted(table["horizon_months"].unique()):
        here = table.loc[table["horizon_months"] == months]
        scores = [n for n in dict.fromkeys(here["model"]) if "/" not in n and n not in _REFERENCES]
        wanted = [n for n in (models + scores)[:MOST_CURVES] if (here["model"] == n).any()]
        curves = []
        for name in (*_REFERENCES, *wanted):
            own = here.loc[here["model"] == name].sort_values("threshold")
            benefit = [number(v) for v in own["net_benefit"]]
            curves.append(
                {
                    "name": name,
                    "title": title_of(artefacts, name),
                    "threshold": [round(float(t), 4) for t in own["threshold"]],
                    "net_benefit": [None if v is None else round(v, 5) for v in benefit],
                }
            )
        if wanted:
            panels.append({"months": float(months), "curves": curves})
    return panels


def answer(artefacts: Artefacts, endpoint: str) -> Part | None:
    """The arms of the question, their differences and the sentence; None if the run has no such table."""
    table = artefacts.of_endpoint("answers", endpoint)
    if table is None:
        return None
    rows = [{str(key): _plain(value) for key, value in row.items()} for row in table.to_dict("records")]
    arms = []
    for row in rows:
        lower, upper = row["difference_lower"], row["difference_upper"]
        decimals = deciding_decimals((lower, upper), 3)
        model, reference = row.get("model"), row.get("reference")
        arms.append(
            {
                "arm": ARM_TITLES.get(row["arm"], str(row["arm"])),
                "title": title_of(artefacts, model) if model else "",
                "text": interval(row["estimate"], row["lower"], row["upper"]),
                "reference": title_of(artefacts, reference) if reference else "",
                "difference": interval(row["difference"], lower, upper, decimals, signed=True),
                "p": p_text(row["p_value"]),
                "verdict": str(row["verdict"]).replace("_", " "),
                "reason": row["reason"] or "",
            }
        )
    of_radiomics = any(body.radiomics is not None for body in artefacts.experiment.feature_sets.values())
    metric = next((row["metric"] for row in rows if row["metric"]), "")
    methods: dict[str, list[str]] = {}
    for row in rows:
        if row["method"]:
            methods.setdefault(row["method"], []).append(ARM_TITLES.get(row["arm"], row["arm"]))
    return {
        "sentence": answer_sentence(rows, of_radiomics=of_radiomics),
        "arms": arms,
        "metric": METRIC_TITLES.get(metric, metric),
        "methods": [{"method": method, "arms": listed} for method, listed in methods.items()],
    }


def _rounded(value: Any) -> float | None:
    known = number(value)
    return None if known is None else round(known, 4)


def _plain(value: Any) -> Any:
    """A cell without the missing values of a table: None, or what it holds."""
    return value if isinstance(value, str) else number(value)
