"""Acceptance of delivered models: criteria declared in the experiment, judged on the tables of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radiomics_crlm.config import AcceptanceConfig
from radiomics_crlm.provenance.files import write_json
from radiomics_crlm.report.artefacts import Artefacts, load_artefacts
from radiomics_crlm.report.performance import find_comparison, metric_row, primary_metric

ALIAS = "accepted"
"""Alias of a registered version whose criteria all hold."""

FILE = "acceptance.json"
NOT_DECLARED = "no acceptance criteria were declared"


def accept_study(out: Path) -> Mapping[str, Any]:
    """Judge the delivered models of an evaluated study and write ``acceptance.json``.

    Returns
    -------
    dict
        Per endpoint with declared criteria: ``model``, ``accepted``, ``reason`` and ``criteria`` (a list of
        ``criterion``, ``required``, ``value``, ``passed``). A criterion whose value does not exist fails. Empty if the
        experiment declares none.

    Raises
    ------
    InputError, ConfigError
        If ``run.json`` is absent or holds no valid experiment.
    """
    artefacts = load_artefacts(out)
    judged = {name: judge(artefacts, name, asked) for name, asked in artefacts.experiment.acceptance.items()}
    write_json(out / FILE, judged)
    return judged


def judge(artefacts: Artefacts, endpoint: str, asked: AcceptanceConfig) -> dict[str, Any]:
    """The criteria of one endpoint, each with its value; accepted only if a bundle exists and all criteria hold."""
    model = artefacts.experiment.deliver[endpoint]
    criteria = [
        _bundled(artefacts, endpoint),
        *_minima(artefacts, endpoint, model, asked),
        *_better(artefacts, endpoint, model, asked),
        *_slope(artefacts, endpoint, model, asked),
        *_no_leak(artefacts, endpoint, asked),
    ]
    failed = [f"{c['criterion']}: {_shown(c['value'])}, required {c['required']}" for c in criteria if not c["passed"]]
    return {
        "model": model,
        "accepted": not failed,
        "reason": "; ".join(failed) if failed else "all criteria hold",
        "criteria": criteria,
    }


def _criterion(name: str, required: str, value: float | str | None, passed: bool) -> dict[str, Any]:
    rounded = round(value, 6) if isinstance(value, float) else value
    return {"criterion": name, "required": required, "value": rounded, "passed": passed}


def _shown(value: float | str | None) -> str:
    return "not known" if value is None else f"{value:.3f}" if isinstance(value, float) else value


def _bundled(artefacts: Artefacts, endpoint: str) -> dict[str, Any]:
    there = endpoint in artefacts.part("delivered")
    return _criterion("delivered", "a bundle", "yes" if there else "no bundle", there)


def _minima(artefacts: Artefacts, endpoint: str, model: str, asked: AcceptanceConfig) -> list[dict[str, Any]]:
    metric = asked.metric or primary_metric(artefacts.endpoints[endpoint])
    row = metric_row(artefacts, endpoint, model, metric) or {}
    found = []
    for key, title, least in (
        ("estimate", metric, asked.minimum_estimate),
        ("lower", f"{metric}, lower limit", asked.minimum_lower),
    ):
        if least is not None:
            value = row.get(key)
            found.append(_criterion(title, f"at least {least:g}", value, value is not None and value >= least))
    return found


def _better(artefacts: Artefacts, endpoint: str, model: str, asked: AcceptanceConfig) -> list[dict[str, Any]]:
    if asked.better_than is None:
        return []
    row = find_comparison(artefacts, endpoint, model, asked.better_than) or {}
    lower = row.get("lower")
    title = f"difference to {asked.better_than}, lower limit"
    return [_criterion(title, "above 0", lower, lower is not None and lower > 0)]


def _slope(artefacts: Artefacts, endpoint: str, model: str, asked: AcceptanceConfig) -> list[dict[str, Any]]:
    if asked.calibration_slope is None:
        return []
    low, high = asked.calibration_slope
    value = (metric_row(artefacts, endpoint, model, "calibration_slope") or {}).get("estimate")
    inside = value is not None and low <= value <= high
    return [_criterion("calibration slope", f"{low:g} to {high:g}", value, inside)]


def _no_leak(artefacts: Artefacts, endpoint: str, asked: AcceptanceConfig) -> list[dict[str, Any]]:
    if not asked.no_leak:
        return []
    admitted = artefacts.part("leak").get("admitted", {}).get(endpoint, [])
    value = f"{len(admitted)} columns from after the prediction" if admitted else "none"
    return [_criterion("leak", "none", value, not admitted)]
