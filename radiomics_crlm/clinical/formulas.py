"""Rules that compute a number, over whole columns: the number, and what decides the words beside it.

Patients with the same marks get the same words from such a rule, but for its number; the words themselves stay the
engine's. Operations are those of the engine in the same order, so that not one bit differs.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.clinical import additive
from radiomics_crlm.clinical.catalogue import Rule, conditions, rule
from radiomics_crlm.clinical.classes import classes, rests_on
from radiomics_crlm.clinical.conditions import compare, parse_bounds
from radiomics_crlm.clinical.derivation import Column, Columns, months_between
from radiomics_crlm.clinical.tumour_burden import tumour_burden

_MINUTES = 15

Marks = Iterable[Column]


@dataclass(frozen=True)
class Formula:
    """``number`` of every patient (NaN or meaningless where the rule has none), and ``marks``, given that number.

    ``marks_alone`` says that the inputs tell nothing beside the marks.
    """

    number: Callable[[Rule, Columns], Column] | None = None
    marks: Callable[[Rule, Columns, Column], Marks] = lambda _rule, _columns, _number: ()
    marks_alone: bool = False


def number_of(chosen: Rule, columns: Columns) -> Column | None:
    """Number of every patient by the formula of a rule; None if it has none."""
    formula = FORMULAS.get(chosen.method)
    if formula is None or formula.number is None:
        return None
    with np.errstate(all="ignore"):
        return formula.number(chosen, columns)


def same_words(chosen: Rule, columns: Columns) -> np.ndarray:
    """Class of every patient, as ``classes`` does it: one class has the same words, but for a computed number."""
    alone = chosen.method in FORMULAS and FORMULAS[chosen.method].marks_alone
    return classes(chosen, columns, frozenset(FORMULAS), _marks_of(chosen, columns), marks_alone=alone)


def _marks_of(chosen: Rule, columns: Columns) -> Iterator[np.ndarray]:
    """Integers that, beside what is known, decide the words of a rule, and of the rules on which it rests."""
    if chosen.method in FORMULAS:
        blank = np.full(_length(columns), np.nan)
        known = {name: columns.get(name, blank) for name in chosen.all_inputs}
        number = number_of(chosen, known)
        number = blank if number is None else number
        with np.errstate(all="ignore"):
            yield from (mark.astype(np.int64) for mark in FORMULAS[chosen.method].marks(chosen, known, number))
    for other in rests_on(chosen):
        yield from _marks_of(rule(other), columns)


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _each(function: Callable[[float], float], numbers: Column) -> Column:
    """The function of the engine number by number, for numpy may differ from it in the last bit; NaN stays NaN."""
    return np.array([function(number) for number in numbers.tolist()], dtype=float)


def _passes(numbers: Column, test: str) -> Column:
    passed: Column = functools.reduce(operator.and_, (compare(numbers, *bound) for bound in parse_bounds(test)))
    return passed


def _burden_marks(chosen: Rule, _: Columns, number: Column) -> Marks:
    return (_passes(number, test) for _, test in chosen.parameter("zones"))


def _healthy(columns: Columns) -> Column:
    return columns["tlv_ml"] - columns["tumour_volume_ml"]


def _share_marks(_: Rule, columns: Columns, _number: Column) -> Marks:
    healthy = _healthy(columns)
    return compare(columns["flr_ml"], ">", healthy), compare(healthy, "<=", 0)


def _mosteller(columns: Columns) -> Column:
    return np.sqrt(columns["height_cm"] * columns["weight_kg"] / 3600)


def _decay(retention: float) -> float:
    return -math.log(retention / 100) / _MINUTES if 0 < retention < 100 else math.nan


def _icg_marks(_: Rule, columns: Columns, _number: Column) -> Marks:
    return columns["icg_r15_pct"] <= 0, columns["icg_r15_pct"] >= 100


def _icg_of_remnant_marks(chosen: Rule, columns: Columns, number: Column) -> Marks:
    return *_icg_marks(chosen, columns, number), compare(number, ">=", chosen.parameter("minimum_per_min"))


def _albi(chosen: Rule, columns: Columns) -> Column:
    bilirubin = columns["bilirubin_mg_dl"] * chosen.parameter("umol_l_per_mg_dl")
    logarithm = _each(lambda number: math.log10(number) if number > 0 else math.nan, bilirubin)
    return 0.66 * logarithm - 0.085 * columns["albumin_g_l"]


def _albi_marks(chosen: Rule, columns: Columns, number: Column) -> Marks:
    ends = (chosen.parameter("grade_1_up_to"), chosen.parameter("grade_2_up_to"))
    return columns["bilirubin_mg_dl"] <= 0, *(compare(number, ">", end) for end in ends)


def _change(start: str, now: str, sign: int = 1) -> Callable[[Rule, Columns], Column]:
    return lambda _, columns: sign * (100 * (columns[now] - columns[start]) / columns[start])


def _recist_marks(chosen: Rule, columns: Columns, number: Column) -> Marks:
    baseline, now = columns["baseline_sum_mm"], columns["current_sum_mm"]
    nadir = np.fmin(baseline, columns["nadir_sum_mm"])
    grown = compare(100 * (now - nadir), ">=", chosen.parameter("increase_pct") * nadir)
    yield baseline <= 0
    yield grown & compare(now - nadir, ">=", chosen.parameter("increase_mm"))
    yield now == 0
    yield compare(number, "<=", -chosen.parameter("decrease_pct"))


def _shrinkage_marks(chosen: Rule, columns: Columns, number: Column) -> Marks:
    yield _passes(columns["weeks_from_start"], chosen.parameter("accepted_weeks"))
    yield columns["baseline_sum_mm"] <= 0
    yield compare(number, ">=", chosen.parameter("minimum_pct"))


def _duration_marks(chosen: Rule, columns: Columns, _: Column) -> Marks:
    for line, fewest in chosen.parameter("long_from").items():
        yield columns["chemo_line"] == line
        yield columns["chemo_cycles"] >= fewest


def _oligoprogression_marks(_: Rule, columns: Columns, _number: Column) -> Marks:
    followed, growing = columns["n_lesions_followed"], columns["n_lesions_progressing"]
    return growing > followed, growing == followed, growing == 0, growing == 1


def _odds(chosen: Rule, columns: Columns) -> Column:
    many = _passes(columns["n_liver_mets"], chosen.parameter("many"))
    per_cycle, reference = chosen.parameter("odds_per_cycle"), chosen.parameter("reference_cycles")
    by_cycles = _each(lambda cycles: per_cycle ** (cycles - reference), columns["chemo_cycles"])
    return np.where(many, chosen.parameter("odds_of_many"), 1.0) * by_cycles


def _updated(chosen: Rule, columns: Columns) -> Column:
    prior = columns["prior_malignancy_pct"]
    ratios = [columns[name] for name in chosen.optional]
    odds = prior / (100 - prior)
    for ratio in ratios:
        odds = odds * np.where(np.isnan(ratio), 1.0, ratio)
    return np.where(np.isnan(ratios).all(axis=0), prior, 100 * odds / (1 + odds))


def _updated_marks(_: Rule, columns: Columns, _number: Column) -> Marks:
    return columns["prior_malignancy_pct"] <= 0, columns["prior_malignancy_pct"] >= 100


def _cea_marks(chosen: Rule, columns: Columns, _: Column) -> Marks:
    now, highest = columns["cea_ng_ml"], columns["cea_max_ng_ml"]
    yield _passes(now, chosen.parameter("cea"))
    yield compare(now, "<=", chosen.parameter("share_of_maximum") * highest)


def _item_marks(chosen: Rule, columns: Columns, _: Column) -> Marks:
    """The items of a score: what is unknown of them, and their points."""
    for item in additive.items(chosen.id):
        yield from item.unknown(columns).values()
        yield from (pd.factorize(end)[0] for end in item.span(columns))
    for test in conditions(chosen.body.get("override", {}).get("any", {})):
        yield np.nan_to_num(test.state(columns[test.name]) + 1, nan=0.0)


def _linear(chosen: Rule, columns: Columns) -> Column:
    number: Any = chosen.parameter("intercept_ml") + chosen.parameter("slope_ml_per_m2") * _mosteller(columns)
    return np.asarray(number)


FORMULAS: Mapping[str, Formula] = {
    "disease_free_interval": Formula(
        lambda _, columns: months_between(columns["primary_diagnosis_date"], columns["crlm_diagnosis_date"])
    ),
    "tumour_burden_zone": Formula(lambda _, columns: tumour_burden(columns)[0], _burden_marks),
    "standardised_remnant": Formula(lambda _, columns: 100 * columns["flr_ml"] / _healthy(columns), _share_marks),
    "remnant_to_weight": Formula(
        lambda _, columns: 100 * columns["flr_ml"] / (columns["weight_kg"] * 1000),
        lambda chosen, _, number: (compare(number, ">=", chosen.parameter("minimum_pct")),),
    ),
    "hypertrophy_rate": Formula(
        lambda _, columns: columns["flr_pct_post"] - columns["sflr_pct"],
        lambda _, columns, __: (columns["weeks_after_pve"] <= 0,),
    ),
    "remnant_risk": Formula(),
    "body_surface": Formula(lambda _, columns: _mosteller(columns)),
    "estimated_liver_volume": Formula(_linear),
    "icg_constant": Formula(lambda _, columns: _each(_decay, columns["icg_r15_pct"]), _icg_marks),
    "icg_of_remnant": Formula(
        lambda _, columns: _each(_decay, columns["icg_r15_pct"]) * columns["sflr_pct"] / 100, _icg_of_remnant_marks
    ),
    "albumin_bilirubin": Formula(_albi, _albi_marks),
    "recist": Formula(_change("baseline_sum_mm", "current_sum_mm"), _recist_marks),
    "early_shrinkage": Formula(_change("baseline_sum_mm", "current_sum_mm", -1), _shrinkage_marks),
    "depth_of_response": Formula(
        _change("baseline_sum_mm", "nadir_sum_mm", -1), lambda _, columns, __: (columns["baseline_sum_mm"] <= 0,)
    ),
    "volume_response": Formula(
        _change("ttv_baseline_ml", "ttv_current_ml"), lambda _, columns, __: (columns["ttv_baseline_ml"] <= 0,)
    ),
    "schedule": Formula(
        marks=lambda _, columns, __: (columns["last_chemo_date"] < columns["therapy_start_date"],),
    ),
    "chemotherapy_duration": Formula(marks=_duration_marks),
    "oligoprogression": Formula(
        lambda _, columns: (
            100 * (columns["n_lesions_followed"] - columns["n_lesions_progressing"]) / columns["n_lesions_followed"]
        ),
        _oligoprogression_marks,
    ),
    "disappearance_odds": Formula(_odds),
    "updated_probability": Formula(_updated, _updated_marks),
    "transmet": Formula(marks=_cea_marks),
    "additive": Formula(marks=_item_marks, marks_alone=True),
    # The items of their score, on which they rest, say it all.
    "recalibrated": Formula(marks_alone=True),
    "recalibrated_spline": Formula(marks_alone=True),
}
"""By method of a rule."""
