"""The sheet of one patient: scans, rule scores, model, position in the cohort, explanation, flags and origin.

One JSON object holds every word and number (:func:`build_patient_sheet`); the page is drawn from it and the picture of
the scans alone (:func:`render_patient_sheet`). Of the patient it shows the key and what was computed, never a name, a
date, a path or free text; it belongs to those who treat the patient.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

import radiomics_crlm
from radiomics_crlm.report.page import environment
from radiomics_crlm.report.participants import described
from radiomics_crlm.report.percentile import position, strip_svg
from radiomics_crlm.report.sheet_words import LEVEL, USE, event_free_words, flag_parts, outcome_words, remedy
from radiomics_crlm.report.waterfall import shortened, waterfall_bars, waterfall_svg
from radiomics_crlm.report.wording import MOMENTS, NO_VALUE, cleaned, fixed, listed, number

Part = dict[str, Any]

SHEET_VERSION = 1
_SHOWN = 9
_LABEL = 36
_FEW = 3
_LINE, _MOST_LINES = 60, 24
_SCORED = "scored"
_MISSING = " (missing)"
_SIMULATED = "Simulated patient: nobody of this kind exists. The sheet shows that the program works."
_NO_CLAIM = "No performance claim: the study behind this model does not support one."
_CLAIM = "The study behind this model makes a performance claim; its model card has the figures."
_SHIFTED = "The cohort is unlike the training patients, so that probabilities may be off; it differs in "
_GOOD = "The event is good news here: a higher probability is better."


@dataclass(frozen=True)
class Explained:
    """Attributions of one prediction by learner input, in ``unit``; with ``base`` they sum to ``total``.

    ``inputs`` are the values behind them in the unit of their columns (None where unknown), if they are at hand.
    """

    values: Mapping[str, float]
    base: float
    total: float
    unit: str
    inputs: Mapping[str, float | None] | None = None


@dataclass(frozen=True)
class Pictures:
    """Scans of a patient: one strip of slices as PNG, and per scan its title, facts and findings.

    ``findings`` are pairs of a verdict (``pass``, ``doubtful``, ``fail``) and its reason. Without ``png``, ``absent``
    says why.
    """

    png: bytes | None = None
    scans: tuple[Mapping[str, Any], ...] = ()
    absent: str = ""


def build_patient_sheet(
    score: Mapping[str, Any],
    bundle: Mapping[str, Any],
    *,
    bundle_sha256: str,
    rules: Sequence[Part] | str,
    explained: Explained | str,
    cohort: Mapping[int, Sequence[float]],
    pictures: Pictures,
    simulated: bool = False,
    shifted: Sequence[str] = (),
) -> Part:
    """The sheet as plain JSON.

    Parameters
    ----------
    score
        Row of the table ``scores``; optional columns may be absent, nulls are None.
    bundle, bundle_sha256
        Content of ``bundle.json``, and the SHA-256 of the bundle.
    rules
        Rules in words (``rules_sheet.rule_part``), or why there are none.
    explained
        The explanation of the prediction, or why there is none.
    cohort
        Probabilities of all scored patients by month.
    pictures
        The scans.
    simulated
        Whether the cohort is simulated.
    shifted
        Inputs in which the cohort as a whole differs from the training patients.

    Returns
    -------
    dict
        Parts that are not available carry ``absent`` with the reason. An abstained patient has no number of the model.

    Raises
    ------
    InputError
        If attributions do not lead to the prediction.
    """
    patient = score.get("patient_id")
    scored = score["status"] == _SCORED
    answer = _answer(score, bundle) if scored else {"absent": "the model abstains for this patient"}
    sheet = {
        "sheet_version": SHEET_VERSION,
        "patient": patient,
        "row": int(score["row"]),
        "heading": f"Patient {patient}" if patient is not None else f"Row {int(score['row'])}, without a patient key",
        "status": score["status"],
        "use": USE,
        "notices": _notices(bundle, simulated, shifted),
        "model": _model(bundle),
        "abstention": None if scored else _abstention(score),
        "answer": answer,
        "position": _position(answer, cohort) if scored else {"absent": "the model abstains for this patient"},
        "explanation": _explanation(explained, bundle) if scored else {"absent": "the model abstains for this patient"},
        "rules": {"absent": rules} if isinstance(rules, str) else {"rows": [_rule(part) for part in rules]},
        "flags": flag_parts(score.get("flags")),
        "pictures": _pictures(pictures),
        "origin": _origin(score, bundle, bundle_sha256),
    }
    text: Part = cleaned(sheet)
    return text | {"long": _lines(text) > _MOST_LINES}


def _lines(sheet: Part) -> float:
    """About how many lines the texts of variable length take in half the width of a printed page."""
    rules = sheet["rules"].get("rows", [])
    texts = [
        *(f"{r['title']} {r['result']} {r['notes']}" for r in rules),
        *(f["text"] + f["todo"] for f in sheet["flags"]),
    ]
    named = sum(len(name) for f in sheet["flags"] for name in f["inputs"] if len(f["inputs"]) <= _FEW)
    facts = sum(len(text) for scan in sheet["pictures"]["scans"] for text in scan["facts"])
    notices = sum(1.5 + len(notice["text"]) / (2 * _LINE) for notice in sheet["notices"])
    outcomes = sum(3 * len(row["outcome"]["text"]) / _LINE for row in sheet["answer"].get("rows", []))
    return sum(1 + len(text) / _LINE for text in texts) + (named + facts / 2) / _LINE + notices + outcomes


def render_patient_sheet(sheet: Part, png: bytes | None = None) -> str:
    """The sheet as one HTML page that needs nothing else: no script, no request; all text is escaped.

    Pure: the same sheet and picture give the same bytes.
    """
    drawn: dict[str, Markup] = {}
    if "absent" not in sheet["explanation"]:
        data = sheet["explanation"]["data"]
        svg = waterfall_svg(
            data["labels"],
            data["values"],
            data["base"],
            data["total"],
            unit=data["unit"],
            ident="waterfall",
            shown=_SHOWN,
        )
        drawn["waterfall"] = Markup(svg)  # noqa: S704 (the figure escapes its own text)
    if "absent" not in sheet["position"]:
        part = sheet["position"]
        svg = strip_svg(part, ident="position-strip", title=part["title"], description=part["text"])
        drawn["position"] = Markup(svg)  # noqa: S704
    picture = None if png is None else "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return environment().get_template("patient_sheet.html.j2").render(sheet=sheet, figures=drawn, picture=picture)


def _notices(bundle: Mapping[str, Any], simulated: bool, shifted: Sequence[str]) -> list[Part]:
    notices = [{"kind": "simulated", "title": "Simulated patient", "text": _SIMULATED}] if simulated else []
    if not bundle["performance_claim"]:
        notices.append({"kind": "claim", "title": "No performance claim", "text": _NO_CLAIM})
    if shifted:
        named = [*shifted[:_FEW], *([f"{len(shifted) - _FEW} more"] if len(shifted) > _FEW else [])]
        notices.append({"kind": "shift", "title": "Shifted cohort", "text": _SHIFTED + f"{listed(named)}."})
    if bundle["cautions"]:
        notices.append({"kind": "caution", "title": "Cautions", "text": " ".join(bundle["cautions"])})
    return notices


def _model(bundle: Mapping[str, Any]) -> Part:
    definition = bundle["definition"]
    facts = [
        ("Question", definition["title"]),
        ("For", definition["population_title"]),
        ("Speaks", MOMENTS[bundle["speaks_at"]]),
        ("Performance", _CLAIM if bundle["performance_claim"] else _NO_CLAIM),
    ]
    return {
        "title": bundle["title"],
        "event": definition["title"],
        "direction": "" if definition["higher_is_worse"] else _GOOD,
        "facts": [{"what": what, "text": text} for what, text in facts],
    }


def _abstention(score: Mapping[str, Any]) -> Part:
    return {
        "code": score.get("code"),
        "text": "The model gives no result for this patient.",
        "reason": score.get("reason") or "no reason was noted",
        "todo": remedy(score.get("code")),
    }


def _percent(share: float | None) -> str:
    return NO_VALUE if share is None else f"{fixed(100 * share, 0)} %"


def _answer(score: Mapping[str, Any], bundle: Mapping[str, Any]) -> Part:
    """Probabilities by horizon with what is known of their uncertainty."""
    rows = [_horizon(score, int(month)) for month in bundle["horizons"]]
    rows = [row for row in rows if row["probability"]["value"] is not None]
    if not rows:
        return {"absent": "the model has no probability at its horizons"}
    free = number(score.get("event_free_months"))
    notes = []
    if any(row["interval"]["lower"] is not None for row in rows):
        notes.append("Interval: 95 % of the models that are fitted again on resampled patients lie in it.")
    else:
        notes.append("The scores hold no interval of the probability.")
    if any(row["outcome"]["value"] is not None for row in rows):
        notes.append(f"Outcome: what cannot be excluded with {LEVEL} confidence (conformal outcome set).")
    else:
        notes.append("The scores hold no outcome set.")
    return {
        "caption": f"Probability: {bundle['definition']['title']}",
        "rows": rows,
        "notes": notes,
        "event_free": {"value": free, "text": event_free_words(free)},
    }


def _horizon(score: Mapping[str, Any], month: int) -> Part:
    known = number(score.get(f"probability_{month}m"))
    lower, upper = (number(score.get(f"probability_{month}m_{end}")) for end in ("lower", "upper"))
    given = None if lower is None or upper is None else f"{_percent(lower)} to {_percent(upper)}"
    outcome = score.get(f"outcome_{month}m")
    return {
        "months": month,
        "horizon": f"Within {month} months",
        "probability": {"value": known, "text": _percent(known)},
        "interval": {"lower": lower, "upper": upper, "text": given or NO_VALUE},
        "outcome": {"value": outcome, "text": outcome_words(outcome) or NO_VALUE},
    }


def _position(answer: Part, cohort: Mapping[int, Sequence[float]]) -> Part:
    if "absent" in answer:
        return dict(answer)
    last = answer["rows"][-1]
    found = position(last["probability"]["value"], cohort.get(last["months"], ()))
    if "absent" in found:
        return found
    low, _, median, _, high = (_percent(q) for q in found["quantiles"])
    text = (
        f"{found['n']} patients of this cohort were scored. {found['lower_pct']} % of the others have a lower "
        f"probability within {last['months']} months than this patient ({last['probability']['text']}); their median "
        f"is {median}, nine of ten lie between {low} and {high}."
    )
    return {**found, "months": last["months"], "title": "Position in the cohort", "text": text}


def _explanation(explained: Explained | str, bundle: Mapping[str, Any]) -> Part:
    if isinstance(explained, str):
        return {"absent": explained}
    kinds = {spec["name"]: spec["kind"] for spec in bundle["inputs"]}
    names = [name for name, value in explained.values.items() if value != 0]
    shown = {name: _shown(name, explained.inputs, kinds) for name in names}
    values = [float(explained.values[name]) for name in names]
    bars = waterfall_bars(names, values, explained.base, explained.total, shown=_SHOWN)
    rows = [
        {
            "input": bar.label,
            "meaning": _meaning(bar.label),
            "value": shown.get(bar.label) or NO_VALUE,
            "attribution": fixed(bar.value, 2, signed=True),
            "amount": bar.value,
        }
        for bar in bars
    ]
    data = {
        "labels": [_label(name, shown[name]) for name in names],
        "values": values,
        "base": explained.base,
        "total": explained.total,
        "unit": explained.unit,
    }
    lead = (
        f"From the average training patient ({fixed(explained.base)}) to this one ({fixed(explained.total)}), as "
        f"{explained.unit}. Associations in the model, not causes."
    )
    return {"text": lead, "caption": "What moves this prediction", "data": data, "rows": rows}


def _shown(name: str, inputs: Mapping[str, float | None] | None, kinds: Mapping[str, str]) -> str:
    """Value of an input: numbers as they are, the rest as yes or no; empty if values are not at hand."""
    if inputs is None or name not in inputs:
        return ""
    value = number(inputs[name])
    if value is None:
        return "unknown"
    return f"{value:.4g}" if kinds.get(name) == "number" else ("yes" if value else "no")


def _label(name: str, value: str) -> str:
    """Name and value of an input, short enough for the figure; the table has the whole name."""
    end = f" = {value}" if value else ""
    return shortened(name, _LABEL - len(end)) + end


def _meaning(name: str) -> str:
    return described(name.removesuffix(_MISSING).partition("=")[0])


def _rule(part: Part) -> Part:
    """One rule: its result, and in words what is unknown and what that could change."""
    notes = []
    if part["missing"]:
        # What is missing and could still change the score is said with its points.
        notes.append(f"missing: {listed(part['change'] or part['missing'])}")
    if part["failed"] and not part["components"]:
        notes.append(f"because of {listed(part['failed'])}")
    if part["boundary"]:
        notes.append(f"exactly on a bound on which sources disagree: {listed(part['boundary'])}")
    return {"rule": part["rule"], "title": part["title"], "result": part["headline"], "notes": "; ".join(notes)}


def _pictures(pictures: Pictures) -> Part:
    scans = [dict(scan) for scan in pictures.scans]
    if pictures.png is None:
        return {"absent": pictures.absent or "the cohort has no images of this patient", "scans": scans}
    names = listed(scan["title"] for scan in scans)
    return {
        "alt": f"Slices of {names} at the largest cross-sections of the lesions, lesions outlined and numbered, liver "
        "dashed",
        "caption": "Patient's right is on the left; lesions are outlined and numbered as in the mask, the liver is "
        "dashed.",
        "scans": scans,
    }


def _origin(score: Mapping[str, Any], bundle: Mapping[str, Any], bundle_sha256: str) -> list[Part]:
    """Where the numbers come from."""
    rows = [
        ("Scores", f"row {int(score['row'])} of the clinical table"),
        ("Model", f"{bundle['model']} of {bundle['name']}, endpoint {bundle['endpoint']}"),
        ("Bundle", f"SHA-256 {bundle_sha256}"),
    ]
    made = dict(bundle.get("extractions") or {})
    if bundle.get("extraction"):
        made |= {"": bundle["extraction"]}
    for kind, one in made.items():
        what = f"Features {kind}".strip()
        rows.append((what, f"{one['engine']}, profile {one['profile']}, settings {one['settings_hash']}"))
    trained = bundle["versions"].get("radiomics_crlm", "unknown version")
    rows.append(("Program", f"radiomics_crlm {radiomics_crlm.__version__}; model trained with {trained}"))
    return [{"what": what, "text": text} for what, text in rows]
