"""The question, answered: the table of arms and the sentence of each endpoint, as the card shows them."""

from __future__ import annotations

from typing import Any

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.performance import primary_metric
from radiomics_crlm.report.verdicts import answer_sentence
from radiomics_crlm.report.wording import METRIC_TITLES, NO_VALUE, deciding_decimals, interval, number, p_text

Part = dict[str, Any]

ARM_TITLES = {
    "rules": "Rules",
    "clinical": "Clinical",
    "radiomics": "Radiomics",
    "combined": "Combined",
    "volume_only": "Volume only",
    "negative_control": "Negative control",
    "permuted_outcome": "Permuted outcome",
}
_MEANINGS = {
    "volume_only": "nothing but the volume of the lesions",
    "negative_control": "the combined model, radiomics exchanged between patients: must not add anything",
    "permuted_outcome": "refitted on outcomes of other patients: must be at chance",
}
_VERDICTS = {
    "adds": "better",
    "no_evidence": "no evidence of a difference",
    "worse": "worse",
    "not_estimable": "not estimable",
    "absent": "absent",
}
_ALARMS = ("negative_control", "permuted_outcome")
_TONES = {"adds": "better", "worse": "worse", "no_evidence": "none"}
_COUNTS = ("n", "events")
_NUMBERS = ("estimate", "lower", "upper", "difference", "difference_lower", "difference_upper", "p_value")


def answer(artefacts: Artefacts, endpoint: str, *, leaked: bool) -> Part:
    """Arms of an endpoint, and what they say about radiomics.

    Parameters
    ----------
    artefacts
        Saved artefacts of the run.
    endpoint
        Which one.
    leaked
        Whether a predictor from after the prediction time was let in: the answer is void then.

    Returns
    -------
    dict
        ``sentence``, ``tone``, ``rows`` and ``methods`` (to which the ``note`` of a row points), or ``absent`` with the
        reason.
    """
    config = artefacts.endpoints[endpoint]
    part: Part = {"endpoint": endpoint, "title": config.title, "metric_title": METRIC_TITLES[primary_metric(config)]}
    if artefacts.experiment.answer is None:
        return part | {"absent": "the experiment names no arms to compare"}
    saved = artefacts.of_endpoint("answers", endpoint)
    if saved is None:
        return part | {"absent": artefacts.why_absent("answers")}
    rows = [{str(key): _plain(str(key), value) for key, value in row.items()} for row in saved.to_dict("records")]
    sentence, tone = answer_sentence(rows), _tone(rows)
    if leaked:
        sentence, tone = f"Not valid, because of the leak: {sentence}", "void"
    elif not artefacts.experiment.performance_claim:
        sentence, tone = f"No performance claim. {sentence}", "none"
    methods = list(dict.fromkeys(str(row["method"]) for row in rows if row["method"]))
    shown = [_row(artefacts, row, methods) for row in rows]
    return part | {"sentence": sentence, "tone": tone, "rows": shown, "methods": methods}


def _plain(key: str, value: Any) -> float | int | str | None:
    """A value with None for what is missing."""
    if key in _COUNTS:
        found = number(value)
        return None if found is None else int(found)
    if key in _NUMBERS:
        return number(value)
    return value if isinstance(value, str) and value else None


def _tone(rows: list[Part]) -> str:
    """Tone of the sentence: that of what radiomics adds; an alarm spoils it."""
    verdicts = {row["arm"]: row["verdict"] for row in rows}
    if any(verdicts.get(arm) == "adds" for arm in _ALARMS):
        return "worse"
    return _TONES.get(verdicts.get("combined", "absent"), "none")


def _row(artefacts: Artefacts, row: Part, methods: list[str]) -> Part:
    arm, verdict = row["arm"], row["verdict"]
    shown: Part = {
        "arm": arm,
        "title": ARM_TITLES[arm],
        "meaning": _MEANINGS.get(arm, ""),
        "verdict": verdict,
        "alarm": arm in _ALARMS and verdict == "adds",
    }
    if verdict == "absent":
        return shown | {"absent": row["reason"] or "not there", "verdict_text": _VERDICTS["absent"]}
    title, reference = artefacts.model_title(row["model"]), row["reference"]
    limits = row["difference_lower"], row["difference_upper"]
    difference = interval(row["difference"], *limits, deciding_decimals(limits, 3), signed=True)
    return shown | {
        **{key: row[key] for key in (*_COUNTS, *_NUMBERS)},
        "model": row["model"],
        "model_title": title,
        "meaning": shown["meaning"] or title,
        "text": interval(row["estimate"], row["lower"], row["upper"]),
        "reference": reference,
        "reference_title": "chance (0.5)" if reference == "chance" else artefacts.model_title(reference),
        "difference_text": difference,
        "p_text": NO_VALUE if row["p_value"] is None else p_text(row["p_value"]),
        "verdict_text": "ALARM: better" if shown["alarm"] else _VERDICTS[verdict],
        "reason": row["reason"] or "",
        "note": methods.index(row["method"]) + 1 if row["method"] else None,
    }
