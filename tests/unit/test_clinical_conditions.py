"""The language of bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from radiomics_crlm.clinical.catalogue import clauses
from radiomics_crlm.clinical.conditions import parse, parse_bounds
from radiomics_crlm.clinical.vocabulary import vocabulary
from radiomics_crlm.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "below", "at", "above"),
    [
        ("< 5", True, False, False),
        ("<= 5", True, True, False),
        ("> 5", False, False, True),
        (">= 5", False, True, True),
        ("[5, 6]", False, True, True),
        ("(5, 6]", False, False, True),
        ("[4, 5)", True, False, False),
        ("[4.0,5.0]", True, True, False),
    ],
)
def test_below_at_and_above_a_bound(text: str, below: bool, at: bool, above: bool) -> None:
    test = parse(vocabulary()["largest_met_mm"], text)
    numbers = np.array([4.9, 5.0, 5.1])
    assert test.holds(numbers).tolist() == [below, at, above]
    assert [bool(test.holds(number)) for number in numbers.tolist()] == [below, at, above]


def test_an_unknown_number_has_no_truth() -> None:
    assert np.isnan(parse(vocabulary()["cea_ng_ml"], "> 200").state(np.array([np.nan]))[0])


def test_floating_point_noise_stays_on_the_bound() -> None:
    assert not parse(vocabulary()["cea_ng_ml"], "> 200").holds(200 + 1e-12)
    assert parse(vocabulary()["cea_ng_ml"], ">= 200").holds(200 - 1e-12)


@pytest.mark.parametrize("text", ["", "50", "=> 5", "5 <", "[1; 2]", "< five"])
def test_an_unreadable_bound_is_refused(text: str) -> None:
    got = f"; got {text}" if text else ""
    with pytest.raises(ConfigError) as told:
        parse_bounds(text)
    assert str(told.value) == f"not a bound; expected a comparison like '> 50' or an interval like '(0, 12]'{got}."


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("kras_status", "absent", "kras_status: unknown category in a rule; got absent"),
        ("best_response", ["CR", "XX"], "best_response: unknown category in a rule; got XX"),
        ("best_response", ["AA", "CR", 5], "best_response: unknown category in a rule; got AA, 5"),
        ("bilobar", "yes", "bilobar: a yes/no input is tested with true or false; got yes"),
    ],
)
def test_a_test_that_does_not_fit_its_input_is_refused(name: str, raw: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{message}\.$"):
        parse(vocabulary()[name], raw)


def test_alternatives_and_conjunctions() -> None:
    both = {"n_liver_mets": "> 1", "bilobar": True}
    assert [[test.name for test in tests] for tests in clauses({"when": both})] == [["n_liver_mets", "bilobar"]]
    assert [[test.name for test in tests] for tests in clauses({"any": both})] == [["n_liver_mets"], ["bilobar"]]
    assert [len(tests) for tests in clauses({"any": [both, {"bilobar": False}]})] == [2, 1]
    assert clauses({"group": "otherwise"}) == ()
