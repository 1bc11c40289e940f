"""How the models of the whole cohort do in other cohorts, from the tables of the external cohorts of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts, patient_keys, without_keys
from radiomics_crlm.report.blocks import (
    Part,
    absent,
    caution,
    column,
    count,
    estimate,
    group,
    heading,
    paragraph,
    row,
    section,
    table,
)
from radiomics_crlm.report.followed import model_order
from radiomics_crlm.report.performance import primary_metric
from radiomics_crlm.report.wording import METRIC_TITLES, clean, listed

_COLUMNS = (
    ("brier_scaled", "0 = no model, 1 perfect"),
    ("observed_expected", "1 is ideal; below 1: risks too high"),
    ("calibration_slope", "1 is ideal; below 1: too extreme"),
    ("ici", "mean distance of the calibration curve"),
)


def elsewhere(artefacts: Artefacts, _: Part) -> Part:
    """Per external cohort: who was in it, and the performance of models and scores there."""
    named = artefacts.experiment.design.external
    if not named:
        return section([absent("External cohorts", "the experiment names none, so performance elsewhere is unknown")])
    blocks: list[Part] = []
    for name in named:
        record = artefacts.part("external").get(name, {})
        blocks.append(heading(str(record.get("cohort") or name)))
        blocks += _cohort(artefacts, name, record)
    return section(blocks)


def _cohort(artefacts: Artefacts, name: str, record: Mapping[str, Any]) -> list[Part]:
    blocks = []
    flow = record.get("flow", {})
    if "in" in flow and "out" in flow:
        keys = patient_keys(artefacts.tables)
        reasons = [f"{without_keys(e.get('reason') or e['code'], keys)} ({e['n']})" for e in flow.get("excluded", [])]
        why = f" Excluded: {'; '.join(reasons)}." if reasons else ""
        blocks.append(paragraph(f"{flow['in']} patients in the files of the cohort, {flow['out']} studied.{why}"))
    if lacking := sorted({str(c) for columns in record.get("lacking", {}).values() for c in columns}):
        blocks.append(
            caution(
                f"The cohort lacks {listed(lacking)}: its patients were given the value of the missing, as a model "
                "does for any patient without it."
            )
        )
    if name not in artefacts.elsewhere:
        return [*blocks, absent("Performance there", "the run wrote no metrics for this cohort")]
    metrics = artefacts.elsewhere[name]
    tables = [
        _table(artefacts, endpoint, metrics.loc[metrics["endpoint"] == endpoint]) for endpoint in artefacts.endpoints
    ]
    return blocks + tables


def _table(artefacts: Artefacts, endpoint: str, rows: pd.DataFrame) -> Part:
    config = artefacts.endpoints[endpoint]
    if rows.empty:
        return absent(f"Performance there: {config.title}", "nobody of the cohort has this endpoint")
    metric = primary_metric(config)
    present = [(m, trait) for m, trait in _COLUMNS if (rows["metric"] == m).any()]
    lines = []
    for model in model_order(artefacts, rows["model"]):
        own: dict[str, Any] = {str(r["metric"]): r for r in rows.loc[rows["model"] == model].to_dict("records")}
        leading = own.get(metric) or next(iter(own.values()))
        cells = [count(leading["n"]), count(leading["events"])]
        cells += [estimate(own.get(name), name) for name in (metric, *(m for m, _ in present))]
        kind = "" if artefacts.is_model(model) else "score"
        lines.append(row(artefacts.model_title(model), cells, under=kind))
    heads = [column(METRIC_TITLES[metric], "0.5 is chance, 1 perfect")]
    heads += [column(METRIC_TITLES[m], trait) for m, trait in present]
    return table(
        f"Performance there, tried once, with 95 % intervals: {clean(config.title)}",
        "Model or score",
        [column("n"), column("Events"), *heads],
        [group(lines)],
    )
