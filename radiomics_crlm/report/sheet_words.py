"""Flags, reasons and outcome sets of a score in plain words, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiomics_crlm.report.wording import clean

Part = dict[str, Any]

USE = "For research; a multidisciplinary team decides."
LEVEL = "90 %"
"""Coverage of the outcome sets and of the event-free time, as the columns of ``scores`` are defined."""

_CORRECT = "Correct the column in the clinical table and score again."
_FLAGS: Mapping[str, tuple[str, str]] = {
    "missing": (
        "Inputs of the model that are unknown and were filled in with typical values: {n}.",
        "Complete the chart and score again if the values exist.",
    ),
    "imputed_over_half": (
        "More than half of the inputs were filled in.",
        "Do not rely on this result: it says more of the training patients than of this one.",
    ),
    "out_of_range": (
        "Beyond the range of the training patients: {n} of the inputs.",
        "Check these values; if they are right, the model has hardly seen such a patient.",
    ),
    "unit_suspicion": (
        "Looks as if it were given in another unit: {n} of the inputs.",
        "Check the unit in the chart and score again.",
    ),
    "unknown_category": (
        "A level that no training patient had, taken as unknown: {n} of the inputs.",
        "Check the level in the chart; if it is right, the model cannot use it.",
    ),
    "out_of_distribution": (
        "Taken together, the inputs are unlike those of the training patients.",
        "Read the probability with caution: the model speaks of other patients.",
    ),
    "scan": ("Noted on the scan.", "Look at the scan and its outlines before using the result."),
}
_OTHER = ("Noted when the patient was scored.", "Find out what it means before using the result.")

_REASONS: Mapping[str, str] = {
    "missing_key": "Give the row a patient key and score again.",
    "duplicate_patient": "Keep one row per patient and score again.",
    "wrong_type": _CORRECT,
    "not_allowed": _CORRECT,
    "out_of_range": _CORRECT,
    "missing_value": _CORRECT,
    "population_unknown": "Complete the column and score again: the model is for some patients only.",
    "not_in_population": "Do not use this model for this patient.",
    "no_scan": "Give a readable scan with outlined lesions and score again.",
    "ambiguous_scan": "Keep one scan of each kind and time point in the manifest and score again.",
    "later_scan": "Give a scan that was made by the time at which the model speaks.",
    "unknown_extraction": "Extract the features again with the settings of the bundle.",
    "other_settings": "Extract the features again with the settings of the bundle.",
    "other_engine": "Extract the features again with the engine of the bundle.",
    "no_input": "Complete the chart and score again.",
    "no_features": "Check the outlines of the scan and extract its features again.",
    "no_result": "Check the values of the chart: the model cannot compute with them.",
}
_OTHER_REASON = "Correct what the reason names and score again."

_SETS: Mapping[str, str] = {
    "event": "the event is to be expected",
    "no_event": "no event is to be expected",
    "either": "both outcomes remain possible",
    "neither": "neither outcome fits: the patient is unlike those the model was checked on",
}


def flag_parts(flags: str | None) -> list[Part]:
    """Flags of a row of ``scores``, those of one kind together: what they mean, what to do, which inputs.

    >>> [(part["flag"], part["inputs"]) for part in flag_parts("missing:2;out_of_range:a;out_of_range:b")]
    [('missing', []), ('out_of_range', ['a', 'b'])]
    >>> flag_parts(None)
    []
    """
    found: dict[str, list[str]] = {}
    for flag in filter(None, (flags or "").split(";")):
        kind, _, detail = flag.partition(":")
        found.setdefault(kind, []).append(detail)
    return [_flag(kind, [clean(d) for d in details if d]) for kind, details in found.items()]


def _flag(kind: str, details: list[str]) -> Part:
    known = kind in _FLAGS
    text, todo = _FLAGS.get(kind, _OTHER)
    counted = kind == "missing"
    n = details[0] if counted and details else str(len(details))
    inputs = [] if counted else [_worded(d) if kind == "scan" or not known else d for d in details]
    head = "" if known else f"{_worded(clean(kind)).capitalize()}: "
    return {"flag": clean(kind), "text": head + text.format(n=n), "todo": todo, "inputs": inputs}


def _worded(text: str) -> str:
    return text.replace("_", " ")


def remedy(code: str | None) -> str:
    """What to do about an abstention.

    >>> remedy("not_in_population"), remedy("something_new") == remedy(None)
    ('Do not use this model for this patient.', True)
    """
    return _REASONS.get(str(code), _OTHER_REASON)


def outcome_words(answer: str | None) -> str | None:
    """A conformal outcome set in words; None where there is none.

    >>> outcome_words("either"), outcome_words(None)
    ('both outcomes remain possible', None)
    """
    return None if answer is None else _SETS.get(answer, clean(answer))


def event_free_words(months: float | None) -> str | None:
    """Lower bound of the time to the event in words.

    >>> event_free_words(7.25)
    'Free of the event for at least 7.2 months, with 90 % confidence.'
    """
    if months is None:
        return None
    # Rounded down: a bound must not promise more than was computed.
    return f"Free of the event for at least {int(months * 10) / 10:.1f} months, with {LEVEL} confidence."
