"""The sheet of one patient: what every rule says, what is missing, and where the definitions of resectability disagree.

One structure serves the terminal (:func:`sheet_text`) and the page (:func:`render_sheet`). It shows values of the
patient, so it belongs to those who treat the patient.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from radiomics_crlm import clinical
from radiomics_crlm.clinical.components import Component, components
from radiomics_crlm.clinical.explain import FAMILIES, TEAM, family_rules, source_text
from radiomics_crlm.clinical.plausibility import warning_texts
from radiomics_crlm.clinical.vocabulary import vocabulary
from radiomics_crlm.report.page import environment
from radiomics_crlm.report.wording import clean, listed

Part = dict[str, Any]

RESECTABILITY = "resectability"
_STATES = {True: "yes", False: "no", None: "unknown"}
_STATUS = {"ok": "", "partial": "waits for tests", "not_assessable": "not assessable", "invalid": "invalid input"}
_WIDTH = 100
_HORIZONS = {"0.5": "6 months", "1": "1 year", "2": "2 years", "3": "3 years"}
_SHOWN_ELSEWHERE = frozenset({"met", "failed", "reasons", "possible", "label", "confidence", "not_stated"})


def build_sheet(row: Mapping[str, object], origins: Mapping[str, str] | None = None) -> Part:
    """The sheet of a patient as plain data.

    Parameters
    ----------
    row
        ``patient_id`` and canonical inputs of one patient; None and NaN are unknown.
    origins
        Where an input comes from, if not from the chart.

    Raises
    ------
    InputError
        If ``patient_id`` is absent.
    """
    cells = {name: value for name, value in row.items() if not _is_null(value)}
    table = pd.DataFrame({name: pd.Series([value], dtype=object) for name, value in cells.items()})
    sources = pd.DataFrame({name: [text] for name, text in (origins or {}).items() if not _is_null(text)}, index=[0])
    results = {r["rule"]: r for r in clinical.evaluate_table(table, sources=sources).to_dict("records")}
    warned = sorted(
        {code for r in results.values() if not _is_null(r["warnings"]) for code in r["warnings"].split(";")}
    )
    shown = [rule_part(rule_id, results[rule_id], cells) for rule_id in results]
    by_family = {one["rule"]: one for one in shown}
    families = [
        {
            "key": family,
            "title": title,
            "rules": [by_family[r] for r in family_rules(family) if r in by_family and by_family[r]["told"]],
        }
        for family, title in FAMILIES.items()
        if family != RESECTABILITY
    ]
    silent = [
        {"rule": one["rule"], "title": one["title"], "missing": one["missing"]} for one in shown if not one["told"]
    ]
    return {
        "patient": clean(cells.get("patient_id", "")),
        "assessed_at": clean(cells.get("assessed_at", "time point not stated")).replace("_", " "),
        "team": TEAM,
        "inputs": list(_inputs(cells, origins or {})),
        "warnings": [{"code": code, "text": warning_texts()[code]} for code in warned],
        "families": [family for family in families if family["rules"]],
        "resectability": _resectability([by_family[r] for r in family_rules(RESECTABILITY) if r in by_family]),
        "silent": silent,
    }


def _is_null(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _inputs(cells: Mapping[str, object], origins: Mapping[str, str]) -> Iterator[Part]:
    for name, spec in vocabulary().items():
        if name in cells and name not in ("patient_id", "assessed_at") and spec.available_at != "outcome":
            origin = origins.get(name)
            text = _value_text(cells[name])
            yield {
                "name": name,
                "value": f"{text} {spec.unit}".strip(),
                "origin": "chart" if _is_null(origin) else str(origin).replace("_", " "),
            }


def _value_text(value: object) -> str:
    if isinstance(value, bool) or str(value) in ("True", "False"):
        return "yes" if str(value) == "True" else "no"
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat()
    if isinstance(value, float):
        return f"{value:.10g}"
    return clean(value)


def rule_part(rule_id: str, row: Mapping[Any, Any], cells: Mapping[str, object]) -> Part:
    """One rule in words: a row of the table ``rules`` and the known inputs of the patient it is of."""
    told = clinical.describe(rule_id)
    result = {key: None if _is_null(value) else value for key, value in row.items()}
    details = json.loads(result["details"]) if result["details"] else {}
    items = components(rule_id, cells)
    known = any(name in cells for name in told.inputs)
    return {
        "rule": rule_id,
        "title": told.title,
        "status": result["status"],
        "told": result["status"] != "not_assessable" or (known and (bool(items) or bool(details))),
        "headline": _headline(result, details, told.bounds),
        "components": [_component_part(item) for item in items],
        "missing": result["missing"].split(";") if result["missing"] else [],
        "change": _change(result, items),
        "boundary": result["boundary"].split(";") if result["boundary"] else [],
        "details": list(_details(details)),
        "origins": re.findall(r"derived\(([^)]*)\)", result["sources"] or ""),
        "failed": result["reason"].split(";") if result["reason"] and result["status"] != "invalid" else [],
        "group": result["group"],
        "sources": [source_text(source) for source in told.sources],
    }


def _headline(result: Mapping[str, Any], details: Mapping[str, Any], span: tuple[float, float] | None) -> str:
    if result["status"] == "invalid":
        return f"invalid input: {result['reason']}"
    if result["status"] == "not_assessable":
        return _open_headline(result, details)
    parts = []
    if result["score"] is not None:
        of = f" (of {span[0]:g} to {span[1]:g})" if span else ""
        parts.append(f"{result['score']:g}{of}")
    if result["group"] is not None:
        parts.append(str(result["group"]).replace("_", " "))
    if result["value"] is not None and not any(key.startswith("p_") for key in details):
        parts.append(f"{result['value']:.4g}")
    if result["status"] == "partial":
        parts.append("waits for tests")
    return ", ".join(parts) or "see below"


def _open_headline(result: Mapping[str, Any], details: Mapping[str, Any]) -> str:
    text = "not assessable"
    if result["lower"] is not None:
        upper = "no upper limit" if result["upper"] is None else f"{result['upper']:g}"
        text += f"; between {result['lower']:g} and {upper}"
    if result["group_certain"] is not None:
        text += f"; {str(result['group_certain']).replace('_', ' ')} is certain"
    elif details.get("possible"):
        text += f"; possible: {listed(str(name).replace('_', ' ') for name in details['possible'])}"
    return text


def _component_part(item: Component) -> Part:
    points = None
    if item.lower is not None and item.upper is not None:
        points = f"{item.lower:g}" if item.lower == item.upper else f"{item.lower:g} to {item.upper:g}"
    text = re.sub(r": [\d.]+$", "", item.text) if " / " not in item.text else item.text
    return {"text": text, "state": _STATES[item.state], "points": points, "missing": list(item.missing)}


def _change(result: Mapping[str, Any], items: tuple[Component, ...]) -> list[str]:
    """What the unknown inputs could still change."""
    if result["status"] != "not_assessable":
        return []
    lines = []
    for item in items:
        if item.state is None and item.lower is not None and item.upper is not None:
            needs = listed(item.missing) or "further inputs"
            lines.append(f"{needs} ({item.lower:g} to {item.upper:g} points)")
    return lines


def _details(details: Mapping[str, Any]) -> Iterator[str]:
    for horizon, text in _HORIZONS.items():
        if f"p_{horizon}y" in details:
            low, high = details[f"ci_{horizon}y"]
            share = f"{100 * details[f'p_{horizon}y']:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
            yield f"recurrence within {text}: {share}"
    if "label" in details:
        confidence = "; low confidence" if details.get("confidence") == "low" else ""
        yield f"{details['label']}{confidence}"
    for key, value in details.items():
        if key in _SHOWN_ELSEWHERE or key.startswith(("p_", "ci_")) or value in (None, [], {}, ""):
            continue
        yield f"{key.replace('_', ' ')}: {_detail_text(value)}"
    if details.get("not_stated"):
        yield f"not stated: {listed(details['not_stated'])}"


def _detail_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_detail_text(entry) for entry in value)
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_detail_text(entry)}" for key, entry in value.items())
    return str(value)


def _resectability(parts: list[Part]) -> Part:
    """The definitions in their historical order, and who stands against whom."""
    rows = [{**part, "answer": _answer(part), "why": _why(part)} for part in parts]
    met = [row["title"] for row in rows if row["answer"] == "met"]
    failed = [row["title"] for row in rows if row["answer"] == "not met"]
    open_ones = sum(row["answer"] == "not assessable" for row in rows)
    if met and failed:
        verdict = f"The definitions disagree: {len(met)} met ({'; '.join(met)}), "
        verdict += f"{len(failed)} not met ({'; '.join(failed)})."
    elif met or failed:
        word = "met" if met else "not met"
        verdict = f"All {len(met or failed)} yes/no definitions that can be assessed are {word}."
    else:
        verdict = "No yes/no definition can be assessed."
    if open_ones:
        verdict += f" {open_ones} of {len(rows)} wait for inputs."
    return {"rows": rows, "verdict": verdict}


def _answer(part: Part) -> str:
    if part["status"] in ("not_assessable", "invalid"):
        return _STATUS[part["status"]]
    return str(part["group"]).replace("_", " ")


def _why(part: Part) -> str:
    if part["status"] == "invalid":
        return str(part["headline"])
    if part["status"] == "not_assessable":
        return f"missing {', '.join(part['missing'])}"
    return f"because of {', '.join(part['failed'])}" if part["failed"] else ""


def render_sheet(sheet: Part) -> str:
    """The sheet as one HTML page that needs nothing else: no script, no request; all text is escaped."""
    return environment().get_template("rules_sheet.html.j2").render(sheet=sheet)


def sheet_text(sheet: Part) -> str:
    """The sheet as plain text, at most 100 columns wide."""
    lines = [f"Clinical rules: patient {sheet['patient']} ({sheet['assessed_at']})", sheet["team"], ""]
    lines += ["INPUTS", *_columns([(i["name"], i["value"], i["origin"]) for i in sheet["inputs"]]), ""]
    if sheet["warnings"]:
        lines += ["WARNINGS (nothing was changed)"]
        lines += [line for w in sheet["warnings"] for line in _wrapped(f"{w['code']}: {w['text']}", 2)] + [""]
    for family in sheet["families"]:
        lines += [family["title"].upper(), *(line for one in family["rules"] for line in _rule_lines(one)), ""]
        if family["key"] == "transplantation":
            lines += _resectability_lines(sheet["resectability"])
    if not any(family["key"] == "transplantation" for family in sheet["families"]):
        lines += _resectability_lines(sheet["resectability"])
    if sheet["silent"]:
        lines.append("NOT ASSESSABLE")
        for one in sheet["silent"]:
            lines += _wrapped(f"{one['rule']}: missing {', '.join(one['missing'])}", 2)
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _rule_lines(one: Part) -> list[str]:
    lines = _wrapped(f"{one['title']} [{one['rule']}]", 2) + _wrapped(f"-> {one['headline']}", 4)
    lines += _columns([(c["state"], c["points"] or "", c["text"]) for c in one["components"]], indent=6)
    lines += [line for text in one["details"] for line in _wrapped(text, 6)]
    if one["failed"] and not one["components"]:
        lines += _wrapped(f"because of {', '.join(one['failed'])}", 6)
    if one["missing"]:
        lines += _wrapped(f"missing: {', '.join(one['missing'])}", 6)
    if one["change"]:
        lines += _wrapped(f"could still change: {'; '.join(one['change'])}", 6)
    if one["boundary"]:
        lines += _wrapped(f"exactly on a bound on which sources disagree: {', '.join(one['boundary'])}", 6)
    if one["origins"]:
        lines += _wrapped(f"derived: {'; '.join(one['origins'])}", 6)
    return lines


def _resectability_lines(part: Part) -> list[str]:
    lines = ["DEFINITIONS OF RESECTABILITY, IN HISTORICAL ORDER"]
    width = max((len(row["answer"]) for row in part["rows"]), default=0) + 4
    for row in part["rows"]:
        lines += _wrapped(f"{'  ' + row['answer']:<{width}}{row['title']}", 0)
        lines += _wrapped(row["why"], width)
    return [*lines, *_wrapped(part["verdict"], 2), ""]


def _columns(rows: Sequence[tuple[str, ...]], indent: int = 2) -> list[str]:
    """Rows with aligned columns; the last one is wrapped."""
    if not rows:
        return []
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        head = " " * indent + "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        lines += textwrap.wrap(row[-1], _WIDTH, initial_indent=head, subsequent_indent=" " * len(head)) or [head]
    return lines


def _wrapped(text: str, indent: int) -> list[str]:
    pad = " " * indent
    return textwrap.wrap(text, _WIDTH, initial_indent=pad, subsequent_indent=f"{pad}  ", break_on_hyphens=False)
