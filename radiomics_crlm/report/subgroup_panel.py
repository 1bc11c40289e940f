"""Performance in the subgroups that the experiment named; small counts are hidden, also those that others imply."""

from __future__ import annotations

from typing import Any

import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, absent, cell, column, estimate, figure, group, heading, row, section
from radiomics_crlm.report.blocks import table as block_table
from radiomics_crlm.report.followed import followed
from radiomics_crlm.report.participants import described
from radiomics_crlm.report.performance import metric_row, primary_metric
from radiomics_crlm.report.wording import METRIC_TITLES, NO_VALUE, SMALL_CELL, interval, number, suppress

_HIDDEN = "not shown"


def subgroups(artefacts: Artefacts, _: Part) -> Part:
    """The model of the card in each subgroup, beside its clinical counterpart and the first score."""
    if not artefacts.experiment.subgroups:
        return section([absent("Subgroups", "the experiment names none")])
    if "subgroups" not in artefacts.tables:
        return section([absent("Subgroups", artefacts.why_absent("subgroups"))])
    blocks: list[Part] = []
    for name, config in artefacts.endpoints.items():
        rows = artefacts.of_endpoint("subgroups", name)
        blocks.append(heading(config.title))
        if rows is None:
            blocks.append(absent("Subgroups", artefacts.why_absent("subgroups")))
        else:
            blocks += _endpoint(artefacts, name, rows)
    return section(blocks)


def _endpoint(artefacts: Artefacts, endpoint: str, rows: pd.DataFrame) -> list[Part]:
    metric = primary_metric(artefacts.endpoints[endpoint])
    models = followed(artefacts, endpoint, rows["model"])
    columns = list(dict.fromkeys(rows["column"]))
    panels = {name: _levels(rows, name, models, metric) for name in columns}
    title, shown = artefacts.endpoints[endpoint].title, artefacts.model_title(models[0])
    blocks = [_table(artefacts, title, metric, models, panels)]
    overall = metric_row(artefacts, endpoint, models[0], metric)
    drawn = [line for name, levels in panels.items() for line in _drawn(name, levels, models[0])]
    if overall is not None and overall["estimate"] is not None and drawn:
        text = interval(overall["estimate"], overall["lower"], overall["upper"])
        first = {"title": "All patients", "kind": "score", "text": text}
        first |= {k: overall[k] for k in ("estimate", "lower", "upper")}
        label = f"{METRIC_TITLES[metric]} of {shown}, with 95 % interval"
        data = {"rows": [first, *drawn], "label": label, "reference": round(overall["estimate"], 4)}
        caption = (
            f"{METRIC_TITLES[metric]} of {shown} in subgroups. Diamond and dashed line: in all patients. Differences "
            "between subgroups are not tested; overlapping intervals are no proof that they are alike."
        )
        blocks.insert(0, figure("subgroup_forest", f"Subgroups: {title}", caption, data))
    return blocks


def _levels(rows: pd.DataFrame, name: str, models: list[str], metric: str) -> list[Part]:
    """Levels of a column, the unknown last: counts fit to be shown, and a row of the table per model and metric."""
    here = rows.loc[(rows["column"] == name) & rows["model"].isin(models)]
    levels = sorted(dict.fromkeys(here["level"].astype(str)), key=lambda level: (level == "unknown", level))
    leading = here.loc[(here["model"] == models[0]) & (here["metric"] == metric)].set_index("level")
    counts = {k: {str(level): int(n) for level, n in leading[k].items()} for k in ("n", "events", "nonevents")}
    shown = _counts(counts)
    found = []
    for level in levels:
        own = here.loc[here["level"] == level].to_dict("records")
        by_key: dict[Any, Any] = {(str(r["model"]), str(r["metric"])): r for r in own}
        found.append({"level": level, "rows": by_key} | {k: shown[k].get(level, NO_VALUE) for k in ("n", "events")})
    return found


def _counts(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int | str]]:
    """Patients and events per level. Events are hidden too where those without the event are few, and if this leaves
    one level hidden the next is hidden with it: otherwise the total gives it away.

    >>> counts = {"n": {"a": 40, "b": 30, "c": 50}, "events": {"a": 38, "b": 10, "c": 20}}
    >>> _counts(counts | {"nonevents": {"a": 2, "b": 20, "c": 30}})["events"]
    {'a': 'not shown', 'b': 'not shown', 'c': 20}
    """
    patients = suppress(counts["n"])
    events = counts["events"]
    hidden = {level for level in patients if isinstance(patients[level], str)}
    hidden |= {k for side in ("events", "nonevents") for k, n in counts[side].items() if 0 < n < SMALL_CELL}
    rest = sorted((n, level) for level, n in events.items() if n > 0 and level not in hidden)
    if len(hidden) == 1 and rest:
        hidden.add(rest[0][1])
    shown: dict[str, int | str] = {
        level: n if level not in hidden else f"<{SMALL_CELL}" if 0 < n < SMALL_CELL else _HIDDEN
        for level, n in events.items()
    }
    return {"n": patients, "events": shown}


def _table(artefacts: Artefacts, title: str, metric: str, models: list[str], panels: dict[str, list[Part]]) -> Part:
    name = METRIC_TITLES[metric]
    heads = [column("n"), column("Events"), *(column(f"{name}: {artefacts.model_title(m)}") for m in models)]
    heads += [column("Brier", "of the first model"), column("Observed / expected", "of the first model")]
    groups = []
    for variable, levels in panels.items():
        lines = []
        for part in levels:
            cells = [cell(part[k], value=part[k] if isinstance(part[k], int) else None) for k in ("n", "events")]
            cells += [_result(part["rows"].get((m, metric)), metric) for m in models]
            cells += [_result(part["rows"].get((models[0], other)), other) for other in ("brier", "observed_expected")]
            lines.append(row(part["level"].replace("_", " "), cells))
        groups.append(group(lines, described(variable) or variable))
    return block_table(
        f"Performance in subgroups named before the analysis, with 95 % intervals: {title}",
        "Subgroup",
        heads,
        groups,
        note="“Too few”: fewer than 10 patients with the event or fewer than 10 without it; nothing was computed. "
        f"Counts below {SMALL_CELL}, and counts from which such could be worked out, are not shown.",
    )


def _result(found: dict[Any, Any] | None, metric: str) -> Part:
    if found is not None and found["status"] != "ok":
        return cell("too few" if found["status"] == "suppressed" else "not computable", estimate=None)
    return estimate(found, metric)


def _drawn(name: str, levels: list[Part], model: str) -> list[Part]:
    """Rows of the figure: levels with an estimate."""
    lines = []
    for part in levels:
        ranked = [r for (m, metric), r in part["rows"].items() if m == model and metric in ("c_index", "auc")]
        if ranked and ranked[0]["status"] == "ok" and number(ranked[0]["estimate"]) is not None:
            known = {k: number(ranked[0][k]) for k in ("estimate", "lower", "upper")}
            text = interval(known["estimate"], known["lower"], known["upper"])
            title = f"{(described(name) or name)}: {part['level'].replace('_', ' ')}"
            lines.append({"title": title, "kind": "model", "text": text} | known)
    return lines
