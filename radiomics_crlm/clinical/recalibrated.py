"""Probabilities of recurrence recalibrated in the KaroLiver cohort (PLATO).

The factors of a published score enter a logistic model per horizon. Coefficients and their covariances are read from
the workbook that the authors published (GitHub ``vilja-a/plato-crlm-risk-prediction``).
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radiomics_crlm.clinical import additive
from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.catalogue import rule as rule_of
from radiomics_crlm.clinical.facts import Facts, Method
from radiomics_crlm.clinical.result import OK, RuleResult, unknown
from radiomics_crlm.resources import resource

_LABEL = "recalibrated in KaroLiver"
_TWO_SIDED_95 = 1.96
# The horizon, in years, whose probability is the value of the result.
_HEADLINE = "1"


@dataclass(frozen=True)
class Model:
    """Logistic model of one score and horizon: terms in the order of the file, coefficients and their covariance."""

    terms: tuple[str, ...]
    coefficients: np.ndarray
    covariance: np.ndarray

    def probability(self, design: np.ndarray) -> tuple[float, float, float]:
        """Probability and its 95 % interval for a design vector that starts with 1."""
        predictor = float(design @ self.coefficients)
        error = float(np.sqrt(design @ self.covariance @ design))
        ends = (predictor, predictor - _TWO_SIDED_95 * error, predictor + _TWO_SIDED_95 * error)
        p, lower, upper = (float(1 / (1 + np.exp(-end))) for end in ends)
        return p, lower, upper


@functools.cache
def models() -> Mapping[str, Mapping[str, Model]]:
    """Models by score and horizon in years (as written in the files)."""
    coefficients: dict[tuple[str, str], dict[str, float]] = {}
    for row in _rows("plato_coefficients.csv"):
        coefficients.setdefault((row["score"], row["horizon_years"]), {})[row["term"]] = float(row["coef"])
    covariances: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for row in _rows("plato_covariance.csv"):
        pairs = covariances.setdefault((row["score"], row["horizon_years"]), {})
        pairs[row["term_row"], row["term_col"]] = float(row["covariance"])
    found: dict[str, dict[str, Model]] = {}
    for (score, horizon), by_term in coefficients.items():
        terms = tuple(by_term)
        covariance = np.array([[covariances[score, horizon][a, b] for b in terms] for a in terms])
        found.setdefault(score, {})[horizon] = Model(terms, np.array(list(by_term.values())), covariance)
    return found


def _rows(name: str) -> list[dict[str, str]]:
    with resource(f"clinical/data/{name}").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def recalibrated(rule: Rule, facts: Facts) -> RuleResult:
    """Probabilities from the factors of an additive score; the tumour burden enters as one indicator per zone."""
    score = rule_of(rule.body["score"])
    columns = {name: np.array([facts.codes.get(name, np.nan)]) for name in score.all_inputs}
    design, missing = [1.0], []
    for item, raw in zip(additive.items(score.id), score.body["items"], strict=True):
        terms = raw["term"]
        if any(mask[0] for mask in item.unknown(columns).values()):
            missing += terms
            continue
        points = float(item.span(columns)[0][0])
        worth = item.points or 1.0
        design += [float(points == worth * rank) for rank in range(1, len(terms) + 1)]
    return unknown(missing) if missing else _probabilities(rule, np.array(design))


def recalibrated_spline(rule: Rule, facts: Facts) -> RuleResult:
    """Probabilities from a weighted score that enters as a restricted cubic spline."""
    score = facts.result(rule.body["score"]).score
    if score is None:
        return unknown(("score",))
    return _probabilities(rule, np.array([1.0, score, *spline(score, rule.parameter("knots"))]))


def spline(score: float, knots: Sequence[float]) -> list[float]:
    """Non-linear terms of a restricted cubic spline with four knots, scaled by the square of their span.

    Examples
    --------
    >>> spline(0.5, (0.6, 1.5, 2.1, 3.9))
    [0.0, 0.0]
    """
    *inner, third, last = knots
    cubes = {knot: max(score - knot, 0.0) ** 3 for knot in knots}
    span = last - third
    return [
        (cubes[knot] - cubes[third] * (last - knot) / span + cubes[last] * (third - knot) / span)
        / (last - inner[0]) ** 2
        for knot in inner
    ]


def _probabilities(rule: Rule, design: np.ndarray) -> RuleResult:
    extra: dict[str, object] = {"label": _LABEL, "confidence": rule.body.get("confidence", "as published")}
    value = None
    for horizon, model in models()[rule.body["model"]].items():
        p, lower, upper = model.probability(design)
        extra |= {f"p_{horizon}y": p, f"ci_{horizon}y": [lower, upper]}
        value = p if horizon == _HEADLINE else value
    return RuleResult(OK, value=value, extra=extra)


METHODS: Mapping[str, Method] = {"recalibrated": recalibrated, "recalibrated_spline": recalibrated_spline}
