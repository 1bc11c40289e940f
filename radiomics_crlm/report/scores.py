"""The rule scores in this cohort: in how many patients they can be assessed, why not in others, and how they fall."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.wording import fixed, main_clause, suppress

Part = dict[str, Any]

_MOST_LEVELS = 14
_MOST_MISSING = 5


def scores(artefacts: Artefacts) -> Part:
    """Assessability per endpoint (from the run's record) and distribution in the cohort (from the table ``rules``)."""
    return {"assessable": _assessable(artefacts), "cohort": _cohort(artefacts)}


def _assessable(artefacts: Artefacts) -> Part:
    recorded = artefacts.part("rule_scores")
    rows = [
        {
            "endpoint": endpoint,
            "endpoint_title": config.title,
            "score": name,
            "title": main_clause(body.get("title") or name),
            "n_assessable": int(body["n_assessable"]),
            "n_not_assessable": int(body["n_not_assessable"]),
        }
        for endpoint, config in artefacts.endpoints.items()
        for name, body in recorded.get(endpoint, {}).items()
    ]
    return {"rows": rows} if rows else {"absent": "the record of the run names no rule scores"}


def _cohort(artefacts: Artefacts) -> Part:
    if "rules" not in artefacts.tables:
        return {"absent": artefacts.why_absent("rules")}
    table = artefacts.tables["rules"]
    wanted = [rule for rule in artefacts.experiment.rules if (table["rule"] == rule).any()]
    if not wanted:
        return {"absent": "the table 'rules' has no rows for the rules of the experiment"}
    return {"rows": [_score(artefacts, table.loc[table["rule"] == rule], rule) for rule in wanted]}


def _score(artefacts: Artefacts, rows: pd.DataFrame, rule: str) -> Part:
    status = Counter(rows["status"].astype(str))
    counts, kind = _counts(rows)
    missing = Counter(word for cell in rows["missing"].dropna() for word in _names(cell))
    return {
        "rule": rule,
        "title": artefacts.model_title(rule),
        "n": len(rows),
        "ok": status["ok"],
        "partial": status["partial"],
        "assessable": status["ok"] + status["partial"],
        "not_assessable": status["not_assessable"],
        "invalid": status["invalid"],
        "kind": kind,
        "distribution": [{"label": label, "n": n} for label, n in suppress(counts).items()],
        "missing": [{"input": name, "n": n} for name, n in missing.most_common(_MOST_MISSING)],
    }


def _counts(rows: pd.DataFrame) -> tuple[dict[str, int], str]:
    """Patients per score, or per group where the score has too many levels or there is none."""
    known = rows["score"].dropna()
    if len(known) and known.nunique() <= _MOST_LEVELS:
        whole = bool((known == known.round()).all())
        levels = sorted(known.unique())
        return {fixed(float(v), 0 if whole else 1): int((known == v).sum()) for v in levels}, "score"
    groups = Counter(str(g) for g in rows["group"].dropna())
    return dict(sorted(groups.items())), "group"


def _names(cell: object) -> list[str]:
    """Input names in a cell, whatever separates them."""
    return list(dict.fromkeys(re.findall(r"[A-Za-z][A-Za-z0-9_]*", str(cell))))
