"""The result of a rule in a few words and one number, for a patient and, quickly, for a table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.clinical.catalogue import Rule, rule
from radiomics_crlm.clinical.derivation import Encoded, prepare
from radiomics_crlm.clinical.engine import encode_columns
from radiomics_crlm.clinical.formulas import number_of, same_words
from radiomics_crlm.clinical.table import Shared, judged

_WORDS = (("group", "group"), ("certainly group", "group_certain"), ("missing", "missing"), ("reason", "reason"))
# Stands for a number that is filled in patient by patient; no text of a rule holds it.
_MARK = "\0"


def rule_text(result: Mapping[str, Any]) -> str:
    """One row of ``evaluate_table`` in words.

    >>> row = dict.fromkeys(["score", "value", "group", "group_certain", "missing", "reason", "lower", "upper"])
    >>> rule_text(row | {"status": "ok", "score": 2.0, "group": "low"})
    'score 2, group low'
    >>> rule_text(row | {"status": "not_assessable", "lower": 1.0, "upper": 4.0, "missing": "dfi_months"})
    'not assessable: bounds 1-4, missing dfi_months'
    """
    return _text({name: value for name, value in result.items() if not pd.isna(value)}, "{:g}".format)


def _text(known: Mapping[str, Any], shown_number: Callable[[float], str]) -> str:
    status = str(known["status"])
    parts = [f"{name} {shown_number(known[name])}" for name in ("score", "value") if name in known]
    if "lower" in known:
        lower = shown_number(known["lower"])
        parts.append(f"bounds {lower}-{shown_number(known['upper'])}" if "upper" in known else f"at least {lower}")
    parts += [
        f"{label} {known[name]}" for label, name in _WORDS if name in known and (name != "missing" or status != "ok")
    ]
    text = ", ".join(parts).replace(";", ", ")
    return text if status == "ok" else f"{status.replace('_', ' ')}{': ' if text else ''}{text}"


def shown(table: pd.DataFrame, rules: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Words and number of each rule for every row of a table, for tables of any length.

    The same as ``rule_text`` of the rows of ``evaluate_table``, without building them: patients whom a rule cannot
    tell apart are judged once, and formulas are computed over whole columns. A row never depends on the others.

    Parameters
    ----------
    table
        One row per patient with canonical input columns, as for ``evaluate_table``; keys are not looked at.
    rules
        Ids of rules.

    Returns
    -------
    dict
        By rule, in the order of ``table``: the words (object array of ``str``) and the number (float array; the score
        if there is one, otherwise the value in the unit of the rule, NaN where there is neither).

    Raises
    ------
    ConfigError
        If there is no such rule. A bad value makes the result of its patient ``invalid`` and is no error.

    Examples
    --------
    >>> words, number = shown(pd.DataFrame({"n_liver_mets": [3, 4], "largest_met_mm": [40.0, None]}), ["tbs2018"])[
    ...     "tbs2018"
    ... ]
    >>> words.tolist()
    ['score 5, group zone_2', 'not assessable: at least 4, missing largest_met_mm']
    >>> number.tolist()
    [5.0, nan]
    """
    chosen = {name: rule(name) for name in rules}
    used = dict.fromkeys(name for one in chosen.values() for name in one.all_inputs if name in table.columns)
    encoded = encode_columns({name: table[name] for name in used}, len(table))
    return {name: _shown_by(one, encoded) for name, one in chosen.items()}


def _shown_by(chosen: Rule, encoded: Encoded) -> tuple[np.ndarray, np.ndarray]:
    prepared = prepare(chosen, encoded)
    found = judged(chosen, prepared, same_words)
    computed = number_of(chosen, prepared.columns)
    number = np.where(np.isnan(found.values["score"]), found.values["value"], found.values["score"])
    if computed is None:
        return _texts(found.values, "{:g}".format)[found.index], number[found.index]
    return _filled(found, computed), np.where(np.isnan(number[found.index]), np.nan, computed)


def _filled(found: Shared, computed: np.ndarray) -> np.ndarray:
    """Words of every patient, with the number of each."""
    templates = [text.partition(_MARK) for text in _texts(found.values, lambda _: _MARK)]
    before, mark, after = np.array(templates, dtype=object).reshape(-1, 3).T
    words: np.ndarray = before[found.index]
    rows = np.flatnonzero((mark != "")[found.index])
    ends, numbers = after[found.index[rows]].tolist(), computed[rows].tolist()
    words[rows] = [f"{start}{n:g}{end}" for start, n, end in zip(words[rows].tolist(), numbers, ends, strict=True)]
    return words


def _texts(values: Mapping[str, np.ndarray], shown_number: Callable[[float], str]) -> np.ndarray:
    names = ("status", "score", "value", "group", "lower", "upper", "group_certain", "missing", "reason")
    rows = zip(*(values[name].tolist() for name in names), strict=True)
    texts = np.empty(len(values["status"]), dtype=object)
    # NaN alone is not equal to itself.
    known = (
        {name: value for name, value in zip(names, row, strict=True) if value is not None and value == value}
        for row in rows
    )
    texts[:] = [_text(result, shown_number) for result in known]
    return texts
