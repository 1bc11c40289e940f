"""Flags and reasons in words: every code that scoring gives has a remedy, and none can be lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from radiomics_crlm.report.sheet_words import event_free_words, flag_parts, outcome_words, remedy

SCORING = Path(__file__).resolve().parents[2] / "radiomics_crlm" / "scoring"


def test_flags_of_one_kind_stand_together_with_their_inputs() -> None:
    parts = flag_parts("missing:3;out_of_range:cea_ng_ml;unit_suspicion:cea_ng_ml;out_of_range:age_years")
    assert [part["flag"] for part in parts] == ["missing", "out_of_range", "unit_suspicion"]
    assert parts[0]["text"].endswith("typical values: 3.")
    assert parts[1]["inputs"] == ["cea_ng_ml", "age_years"]
    assert "2 of the inputs" in parts[1]["text"]
    assert "unit" in parts[2]["todo"]
    assert all(part["todo"] for part in parts)


def test_a_flag_of_the_scan_and_one_of_tomorrow_are_told() -> None:
    scan, new = flag_parts("scan:liver_touches_border;site_unknown:a_b")
    assert scan["inputs"] == ["liver touches border"]
    assert new["text"].startswith("Site unknown: ")
    assert new["inputs"] == ["a b"]
    assert new["todo"]


def test_no_flag_no_part() -> None:
    assert flag_parts(None) == flag_parts("") == flag_parts(";") == []


def test_every_code_of_admission_has_a_remedy_of_its_own() -> None:
    source = (SCORING / "admission.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'abstain\([^"]*"([a-z_]+)"', source)) | set(
        re.findall(r'"(other_[a-z]+|unknown_[a-z]+)"', source)
    )
    assert len(codes) >= 8
    general = remedy("a_code_of_tomorrow")
    assert {code for code in codes if remedy(code) == general} == set()


@pytest.mark.parametrize(
    ("answer", "words"),
    [("event", "is to be expected"), ("no_event", "no event"), ("either", "both"), ("neither", "neither")],
)
def test_outcome_sets(answer: str, words: str) -> None:
    assert words in str(outcome_words(answer))


def test_a_bound_is_never_rounded_up() -> None:
    assert "at least 11.9 months" in str(event_free_words(11.999))
    assert event_free_words(None) is None
