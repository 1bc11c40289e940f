"""Who was studied, what was predicted and from what: the parts of the card that come before any result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiomics_crlm.config import EndpointConfig
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.report.artefacts import Artefacts, patient_keys, without_keys
from radiomics_crlm.report.wording import MOMENTS, fixed, main_clause, months_text, number, percent, suppress
from radiomics_crlm.schema import AVAILABILITY, ColumnSpec, load_schema

Part = dict[str, Any]


def flow(artefacts: Artefacts) -> Part:
    """Participants: in = excluded + out, for the cohort and for each endpoint; ``adds_up`` is checked, not assumed."""
    recorded = artefacts.part("flow")
    if not recorded:
        return {"absent": "the record of the run holds no participant flow"}
    keys = patient_keys(artefacts.tables)
    endpoints = recorded.get("endpoints", {})
    return {
        "cohort": _flow_stage(recorded.get("cohort", {}), keys),
        "endpoints": [
            {"endpoint": name, "title": config.title, "population": config.population_title}
            | _flow_stage(endpoints.get(name, {}), keys, config.horizon_months)
            for name, config in artefacts.endpoints.items()
        ],
    }


def _flow_stage(recorded: Mapping[str, Any], keys: set[str], horizon: float | None = None) -> Part:
    if "in" not in recorded or "out" not in recorded:
        return {"absent": "the record of the run holds no figures for it"}
    excluded: list[Part] = [
        {
            "stage": e.get("stage", ""),
            "code": e.get("code", ""),
            "reason": without_keys(e.get("reason") or e.get("code", ""), keys),
            "n": int(e["n"]),
        }
        for e in recorded.get("excluded", [])
    ]
    total = sum(e["n"] for e in excluded)
    stage: Part = {
        "in": int(recorded["in"]),
        "excluded": excluded,
        "excluded_total": total,
        "out": int(recorded["out"]),
    }
    stage["adds_up"] = stage["in"] == total + stage["out"]
    if "events" in recorded:
        kinds = {kind: int(recorded.get(kind) or 0) for kind in ("events", "competing", "censored")}
        rest = stage["out"] - sum(kinds.values())
        # Only an endpoint with a horizon has patients who were followed to its end without anything happening.
        stage |= kinds | ({"free": rest, "horizon": months_text(horizon)} if horizon is not None else {})
        stage["adds_up"] = stage["adds_up"] and (rest >= 0 if horizon is not None else rest == 0)
    return stage


def population(artefacts: Artefacts) -> Part:
    """Characteristics of the cohort: unit, known, missing, summary and when known, per variable.

    ``summary`` of a variable is text, or ``{"median", "lower", "upper"}`` (quartiles), or ``{"counts": {category:
    n}}``; counts below 5 are hidden here, so they reach neither the page nor its JSON.
    """
    recorded = artefacts.run.get("population") or []
    if not recorded:
        return {"absent": "the record of the run describes no variables"}
    rows: list[Part] = []
    for entry in recorded:
        known, missing = int(entry.get("known") or 0), int(entry.get("missing") or 0)
        name = str(entry["variable"])
        rows.append(
            {
                "variable": name,
                "description": described(name),
                "unit": entry.get("unit") or "",
                "known": known,
                "missing": missing,
                "missing_share": percent(missing, known + missing),
                "summary": _summary(entry.get("summary"), known),
                "available_at": entry.get("available_at") or "",
            }
        )
    return {"rows": rows, "patients": max(r["known"] + r["missing"] for r in rows)}


def _summary(summary: Any, known: int) -> str:
    if isinstance(summary, Mapping) and isinstance(summary.get("counts"), Mapping):
        counts = {str(name): int(n) for name, n in summary["counts"].items()}
        shown = suppress(counts)
        return "; ".join(
            f"{name} {value}" + (f" ({percent(value, known)})" if isinstance(value, int) else "")
            for name, value in shown.items()
        )
    if isinstance(summary, Mapping):
        median, lower, upper = (number(summary.get(k)) for k in ("median", "lower", "upper"))
        decimals = 0 if median is not None and abs(median) >= 100 else 1
        return f"{fixed(median, decimals)} ({fixed(lower, decimals)} to {fixed(upper, decimals)})"
    return str(summary) if summary else ""


def clinical_spec(column: str) -> ColumnSpec | None:
    """What the clinical vocabulary says of a column."""
    try:
        return load_schema("clinical").spec(column)
    except ConfigError:
        return None


def described(column: str) -> str:
    """Description of a clinical column, empty if the vocabulary does not have it."""
    spec = clinical_spec(column)
    return main_clause(spec.description) if spec is not None and spec.description else ""


def outcomes(artefacts: Artefacts) -> list[Part]:
    """Definition of each endpoint in words."""
    counts = artefacts.part("flow").get("endpoints", {})
    return [
        {
            "endpoint": name,
            "title": config.title,
            "definition": _definition(config),
            "population": config.population_title,
            "index_date": config.index_date,
            "prediction_time": MOMENTS[config.prediction_time],
            "competing": _competing(config),
            "censoring": _censoring(config),
            "direction": "higher risk = worse outlook"
            if config.higher_is_worse
            else "the event is good news: higher = more likely to reach it",
            "counts": {k: counts.get(name, {}).get(k) for k in ("out", "events", "competing", "censored")},
        }
        for name, config in artefacts.endpoints.items()
    ]


def _definition(config: EndpointConfig) -> str:
    event = described(config.event) or config.event
    if config.horizon_months is None:
        return f"Months from the index date to: {event} ({config.event}; time in {config.months})."
    return f"Whether within {months_text(config.horizon_months)} of the index date: {event} ({config.event})."


def _competing(config: EndpointConfig) -> str:
    if config.competing is None:
        return "None."
    both = described(config.competing) or config.competing
    ranking = (
        "In the AUC such a patient counts as free of the event."
        if config.kind == "binary"
        else "C is cause-specific: there the competing event ends observation."
    )
    return (
        f"{both} ({config.competing}) without the event itself: something else came first and rules the event out. "
        f"Wherever probabilities are judged this is a competing event, not censoring (Aalen-Johansen). {ranking}"
    )


def _censoring(config: EndpointConfig) -> str:
    if config.months is None:
        return "None: the label is known at the horizon for everybody who was included."
    if config.horizon_months is None:
        return (
            "Patients without an event are censored at the end of their follow-up; C uses only pairs of patients whose "
            "order is known."
        )
    return (
        f"Patients who left before {months_text(config.horizon_months)} without an event have an unknown label. Nobody "
        "is dropped and nobody is called event-free for having left early: the known patients are weighted by the "
        "inverse probability of censoring."
    )


def leak(artefacts: Artefacts) -> Part:
    """What the leak guard refused and, if it was overridden, what it had to let in."""
    recorded = artefacts.part("leak")
    admitted = _refusals(artefacts, recorded.get("admitted"))
    return {
        "recorded": bool(recorded),
        "allowed": bool(recorded.get("allowed", False)),
        "refused": _refusals(artefacts, recorded.get("refused")),
        "admitted": admitted,
        "endpoints": sorted({endpoint for row in admitted for endpoint in row["endpoints"]}),
    }


def admitted_by_moment(artefacts: Artefacts, admitted: list[Part]) -> list[Part]:
    """Admitted columns by the moment at which they are known; endpoints are named where not all are concerned."""
    groups: dict[tuple[str, str], Part] = {}
    for row in admitted:
        group = groups.setdefault(
            (row["known"], row["speaks"]), {"known": row["known"], "speaks": row["speaks"], "columns": []}
        )
        some = set(artefacts.endpoints) - set(row["endpoints"])
        group["columns"].append({"column": row["column"], "only": "; ".join(row["titles"]) if some else ""})
    return list(groups.values())


def _refusals(artefacts: Artefacts, recorded: Any) -> list[Part]:
    """Refused or admitted columns, one row each, with the endpoints concerned."""
    by_endpoint = recorded if isinstance(recorded, Mapping) else dict.fromkeys(artefacts.endpoints, recorded or [])
    rows: dict[tuple[str, str, str], Part] = {}
    for endpoint, entries in by_endpoint.items():
        for entry in entries:
            known, speaks = entry["available_at"], entry["speaks_at"]
            row: Part = {
                "column": entry["column"],
                "known": MOMENTS.get(known, known),
                "speaks": MOMENTS.get(speaks, speaks),
                "endpoints": [],
                "titles": [],
            }
            row = rows.setdefault((entry["column"], known, speaks), row)
            if endpoint not in row["endpoints"]:
                row["endpoints"].append(endpoint)
                row["titles"].append(
                    artefacts.endpoints[endpoint].title if endpoint in artefacts.endpoints else endpoint
                )
    return list(rows.values())


def predictors(artefacts: Artefacts) -> Part:
    """Columns that any model used: when each is known and by which feature sets; radiomic columns by family."""
    used: dict[str, set[str]] = {}
    for models in artefacts.part("models").values():
        for model, record in models.items():
            for column in record.get("columns", []):
                used.setdefault(str(column), set()).add(model.partition("/")[0])
    titles = {name: body.title for name, body in artefacts.experiment.feature_sets.items()}
    # The controls of the study have columns of its feature sets; the card explains them where it answers the question.
    used = {column: own for column, sets in used.items() if (own := sets & set(titles))}
    if not used:
        return {"absent": "the record of the run names no predictor columns"}
    earliest = _known_at(artefacts)
    late = {e["column"] for e in leak(artefacts)["admitted"]}
    clinical: list[Part] = []
    families: dict[str, Part] = {}
    for column, feature_sets in used.items():
        everywhere = len(feature_sets) == len(titles) > 1
        sets = ["all feature sets"] if everywhere else [titles.get(s, s) for s in sorted(feature_sets)]
        if clinical_spec(column) is None and "__" in column:
            family = families.setdefault(
                _family(column), {"family": _family(column), "n": 0, "sets": sets, "columns": []}
            )
            family["n"] += 1
            family["columns"].append(column)
            continue
        clinical.append(_clinical_row(column, earliest.get(column)) | {"sets": sets, "leak": column in late})
    clinical.sort(key=lambda row: (row["order"], row["column"]))
    radiomics = sorted(families.values(), key=lambda f: str(f["family"]))
    return {"clinical": clinical, "radiomics": radiomics, "lacking": _lacking(artefacts, titles)}


def _lacking(artefacts: Artefacts, titles: Mapping[str, str]) -> list[Part]:
    """Scans that patients of a model lack, and how many do; learners of a feature set see the same patients."""
    rows: dict[tuple[str, str, str], Part] = {}
    for endpoint, models in artefacts.part("models").items():
        for model, record in models.items():
            name = model.partition("/")[0]
            for scans, n in record.get("patients_without", {}).items():
                title = artefacts.endpoints[endpoint].title
                row = {"scans": scans, "n": n, "of": record["n"], "endpoint": title, "set": titles.get(name, name)}
                rows[endpoint, name, scans] = row
    return [row for row in rows.values() if row["n"]]


def _clinical_row(column: str, known_at: str | None) -> Part:
    spec = clinical_spec(column)
    moment = known_at or (spec.available_at if spec else "")
    return {
        "column": column,
        "description": described(column),
        "unit": spec.unit if spec else "",
        "known": MOMENTS.get(moment, "not recorded"),
        "order": AVAILABILITY.index(moment) if moment in AVAILABILITY else len(AVAILABILITY),
    }


def _known_at(artefacts: Artefacts) -> dict[str, str]:
    """Moment at which each column is known in this cohort, where the run says so and it is a moment."""
    moments: dict[str, str] = {}
    for entry in artefacts.run.get("population") or []:
        if entry.get("available_at") in AVAILABILITY:
            moments[entry["variable"]] = entry["available_at"]
    for entries in _by_endpoint(artefacts.part("leak").get("admitted")):
        moments |= {e["column"]: e["available_at"] for e in entries if e["available_at"] in AVAILABILITY}
    return moments


def _by_endpoint(recorded: Any) -> list[Any]:
    return list(recorded.values()) if isinstance(recorded, Mapping) else [recorded or []]


def _family(column: str) -> str:
    """Aggregate, image type and feature class of a radiomic column.

    >>> _family("largest__original_firstorder_Mean"), _family("MR.hbp:burden__total_volume_ml")
    ('largest: original firstorder', 'MR.hbp:burden')
    """
    aggregate, _, rest = column.partition("__")
    parts = rest.split("_")
    return f"{aggregate}: {parts[0]} {parts[1]}" if len(parts) > 2 and not aggregate.endswith("burden") else aggregate
