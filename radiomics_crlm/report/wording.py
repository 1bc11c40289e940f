"""How the card writes numbers and names: one place, so that the same quantity looks the same everywhere."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

MINUS = "\N{MINUS SIGN}"
NO_VALUE = "\N{EN DASH}"
SMALL_CELL = 5
"""Counts of patients in a category below this are not shown."""

MOMENTS = {
    "baseline": "at baseline, before chemotherapy",
    "restaging": "at restaging, after first chemotherapy",
    "preoperative": "before the liver operation",
    "postoperative": "only after the liver operation",
    "outcome": "only from follow-up",
}

LEARNERS = {
    "ridge": "penalised regression",
    "elastic_net": "elastic net",
    "fine_gray": "Fine-Gray regression",
    "xgboost": "boosted trees",
    "xgboost_aft": "boosted trees for the time",
    "random_forest": "random forest",
    "ebm": "explainable boosting",
    "late_fusion": "clinical and radiomic parts, mean",
    "stacking": "clinical and radiomic parts, stacked",
}

ARM_TITLES = {
    "rules": "Rules only",
    "clinical": "Clinical",
    "radiomics": "Radiomics",
    "combined": "Combined",
    "volume_only": "Volume only",
    "negative_control": "Negative control",
    "permuted_outcome": "Permuted outcome",
}
"""Arms of the table ``answers``, in its order."""

METRIC_TITLES = {
    "c_index": "C",
    "auc": "AUC",
    "c_index_whole": "C, all pairs",
    "auc_whole": "AUC, all pairs",
    "brier": "Brier",
    "brier_scaled": "Scaled Brier",
    "observed_expected": "Observed / expected",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
    "c_index_uno": "C, Uno",
    "c_index_competing": "C, competing risks",
    "c_index_folds": "C, mean of folds",
    "auc_folds": "AUC, mean of folds",
    "auc_horizon": "AUC by the horizon",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "brier_integrated": "Integrated Brier",
    "brier_integrated_scaled": "Scaled integrated Brier",
    "ici": "ICI",
    "e50": "E50",
    "e90": "E90",
}

METRIC_DECIMALS = {"brier": 3, "brier_scaled": 3, "brier_integrated": 3, "brier_integrated_scaled": 3}

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_ABSOLUTE_PATH = re.compile(
    r"(?<![\w./:])(?:/(?=[\w.~])|[A-Za-z]:[\\/]|\\\\)(?:[^\s\"'<>|,;\\/]+[\\/])+([^\s\"'<>|,;\\/]*)"
)


def number(value: Any) -> float | None:
    """A finite float, or None for null, NaN and infinity (JSON knows none of them).

    >>> number(float("nan")), number(2)
    (None, 2.0)
    """
    if value is None:
        return None
    try:
        converted = float(value)
    except (TypeError, ValueError):
        return None
    return converted if math.isfinite(converted) else None


def fixed(value: float | None, decimals: int = 2, *, signed: bool = False) -> str:
    """A number with fixed decimals, a true minus sign and no negative zero.

    >>> fixed(-0.001), fixed(0.04, signed=True), fixed(None)
    ('0.00', '+0.04', '–')
    """
    if value is None:
        return NO_VALUE
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0:
        return text
    sign = MINUS if value < 0 else "+" if signed else ""
    return sign + text


def interval(
    estimate: float | None, lower: float | None, upper: float | None, decimals: int = 2, *, signed: bool = False
) -> str:
    """An estimate with its 95 % limits.

    >>> interval(0.612, 0.55, 0.671)
    '0.61 (0.55 to 0.67)'
    >>> interval(0.6, None, None)
    '0.60 (no interval)'
    """
    if estimate is None:
        return NO_VALUE
    point = fixed(estimate, decimals, signed=signed)
    if lower is None or upper is None:
        return f"{point} (no interval)"
    return f"{point} ({fixed(lower, decimals)} to {fixed(upper, decimals)})"


def deciding_decimals(limits: Iterable[float | None], decimals: int = 2) -> int:
    """Decimals at which no limit that differs from 0 reads as 0, at most 4: the reader must see which side it is on.

    >>> deciding_decimals([0.002, 0.05]), deciding_decimals([-0.01, 0.05])
    (3, 2)
    """
    known = [abs(x) for x in limits if x]
    while decimals < 4 and any(float(f"{x:.{decimals}f}") == 0 for x in known):
        decimals += 1
    return decimals


def p_text(value: float | None) -> str:
    """A p-value as journals print it.

    >>> p_text(0.0002), p_text(0.034), p_text(0.41)
    ('<0.001', '0.034', '0.41')
    """
    if value is None:
        return NO_VALUE
    if value < 0.001:
        return "<0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def percent(part: float | None, whole: float | None) -> str:
    """A share in whole per cent.

    >>> percent(1, 3), percent(0, 0)
    ('33 %', '–')
    """
    if part is None or not whole:
        return NO_VALUE
    return f"{100 * part / whole:.0f} %"


def small(count: int) -> int | str:
    """A count of patients in a category, or ``<5``.

    >>> small(0), small(3), small(5)
    (0, '<5', 5)
    """
    return f"<{SMALL_CELL}" if 0 < count < SMALL_CELL else count


def suppress(counts: dict[str, int]) -> dict[str, int | str]:
    """Counts of categories with small ones hidden.

    If exactly one is small, the next larger one is hidden too: otherwise the total gives the small one away.

    >>> suppress({"yes": 3, "no": 90, "other": 20})
    {'yes': '<5', 'no': 90, 'other': 'not shown'}
    """
    shown = {name: small(count) for name, count in counts.items()}
    hidden = [name for name, value in shown.items() if isinstance(value, str)]
    others = sorted((count, name) for name, count in counts.items() if count > 0 and name not in hidden)
    if len(hidden) == 1 and others:
        shown[others[0][1]] = "not shown"
    return shown


def clean(text: object, limit: int = 2000) -> str:
    """Text for the page: no control characters, no folders of a path, of bounded length.

    >>> clean("read /home/someone/data/table.csv"), clean("combined/ridge")
    ('read table.csv', 'combined/ridge')
    """
    plain = _ABSOLUTE_PATH.sub(r"\1", _CONTROL.sub(" ", str(text)))
    return plain if len(plain) <= limit else plain[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def cleaned(part: Any) -> Any:
    """A JSON value with every text in it, keys too, made fit for the page by :func:`clean`.

    >>> cleaned({"where": ["C:/data/x.csv", 1]})
    {'where': ['x.csv', 1]}
    """
    if isinstance(part, str):
        return clean(part)
    if isinstance(part, dict):
        return {clean(key): cleaned(value) for key, value in part.items()}
    return [cleaned(value) for value in part] if isinstance(part, list | tuple) else part


def main_clause(text: object) -> str:
    """A description without the remarks in brackets that follow it.

    >>> main_clause("Any positive node (derive from the category)")
    'Any positive node'
    """
    words = clean(text)
    return words.partition(" (")[0].rstrip(".") or words


def listed(items: Iterable[str], word: str = "and") -> str:
    """Items as a phrase.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    words = list(items)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" {word} {words[-1]}" if words else ""


def months_text(months: float) -> str:
    """A horizon.

    >>> months_text(24.0)
    '24 months'
    """
    return f"{months:g} months"
