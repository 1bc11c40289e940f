"""The rules as data: description, sources, inputs and what they may not say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from radiomics_crlm import clinical
from radiomics_crlm.clinical import catalogue
from radiomics_crlm.clinical.catalogue import rules
from radiomics_crlm.clinical.engine import _METHODS
from radiomics_crlm.clinical.explain import FAMILIES
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.schema import AVAILABILITY, is_later

DATA = Path(clinical.__file__).parent / "data"


def test_there_are_one_hundred_and_one_rules() -> None:
    names = clinical.rule_ids()
    assert len(names) == len(set(names)) == 101


@pytest.mark.parametrize("rule", clinical.rule_ids())
def test_every_rule_can_be_described(rule: str) -> None:
    described = clinical.describe(rule)
    assert described.id == rule
    assert described.title
    assert len(described.definition) > 30
    assert described.endpoints
    assert described.available_at in AVAILABILITY
    assert tuple(described.inputs) == clinical.inputs_of(rule)
    assert clinical.prediction_inputs(rule) == dict(described.inputs)
    assert described.family in FAMILIES
    assert isinstance(described.discrimination, tuple)
    assert all(source.cite for source in described.sources)
    assert all("{" not in line and line.strip() for line in described.points + described.groups)


def test_the_description_of_a_score_holds_points_bounds_groups_sources_and_discrimination() -> None:
    fong = clinical.describe("fong_crs")
    assert fong.points == (
        "node_positive_primary: 1",
        "dfi_months < 12: 1",
        "n_liver_mets > 1: 1",
        "largest_met_mm > 50: 1",
        "cea_ng_ml > 200: 1",
    )
    assert fong.bounds == (0, 5)
    assert fong.groups == ("low: up to 2", "intermediate: above 2 and up to 4", "high: above 4 and up to 5")
    assert fong.sources[0].doi == "10.1097/00000658-199909000-00004"
    assert any("0.578" in line for line in fong.discrimination)
    assert clinical.describe("portal_venous_qc").groups[-1] == "fail: otherwise"
    assert clinical.describe("resect_seed004").points[-1] == "sflr_pct >= 30 or rlv_bw is met"


def test_the_groups_of_a_score_rise_and_end_with_its_range() -> None:
    for rule in rules().values():
        ends = [upper for _, upper in rule.body.get("groups", ())]
        assert ends == sorted(set(ends))
        assert not ends or ends[-1] == rule.body["range"][1]


@pytest.mark.parametrize("rule", ["rees2008_postop", "helsinki2023", "margin_class", "hgp", "conversion_label"])
def test_a_rule_with_an_input_of_the_specimen_is_later_than_a_preoperative_model(rule: str) -> None:
    assert any(is_later(when, "preoperative") for when in clinical.prediction_inputs(rule).values())
    assert clinical.describe(rule).available_at == "postoperative"


def test_preoperative_scores_need_nothing_later() -> None:
    for rule in ("fong_crs", "fong_binary", "game2018", "mcs2019", "tbs2018", "nordlinger_preop6", "h_stage"):
        assert not any(is_later(when, "preoperative") for when in clinical.prediction_inputs(rule).values())


def test_every_method_is_used_and_every_rule_has_one() -> None:
    assert {rule.method for rule in rules().values()} == {"additive", *_METHODS}


def test_the_files_name_publications_only() -> None:
    for path in sorted(DATA.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        for line in text.splitlines():
            words = line.split(":", 1)
            identifier = words[0] in ("lt_seed003", "cytoreduction_seed003", "resect_seed004")
            assert "seed" not in line or identifier


def test_every_source_is_cited_by_a_rule() -> None:
    listed = set(yaml.safe_load((DATA / "sources.yaml").read_text(encoding="utf-8")))
    assert listed == {key for rule in rules().values() for key in rule.sources}


def test_discrimination_belongs_to_rules() -> None:
    assert set(yaml.safe_load((DATA / "discrimination.yaml").read_text(encoding="utf-8"))) <= set(clinical.rule_ids())


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"inputs": ["n_liver_mets", "n_livers"], "sources": ["fong1999"]}, "n_livers"),
        ({"fallbacks": ["shoe_size"], "sources": ["fong1999"]}, "shoe_size"),
        ({"inputs": ["n_liver_mets"], "sources": ["fong1999", "nobody1900"]}, "nobody1900"),
        ({"optional": ["shoe_size", "hat_size"], "sources": ["nobody1900"]}, "shoe_size, hat_size, nobody1900"),
    ],
)
def test_a_rule_that_names_what_does_not_exist_is_refused(
    wrong: dict[str, list[str]], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"title": "T", "definition": "D", "method": "steps", **wrong}
    files = {"timing": {"mine": entry}, "sources": catalogue._read("sources")}
    monkeypatch.setattr(catalogue, "_read", lambda name: files.get(name, {}))
    with pytest.raises(ConfigError, match=rf"^mine: a rule names an unknown input or source; got {named}\.$"):
        rules.__wrapped__()


def test_two_rules_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def files(name: str) -> dict[str, object]:
        return {"mine": {"title": "T", "definition": "D", "method": "steps"}} if name in ("timing", "scores") else {}

    monkeypatch.setattr(catalogue, "_read", files)
    with pytest.raises(ConfigError, match=r"^mine: two rules share an id\.$"):
        rules.__wrapped__()


def test_at_most_three_names_are_offered_for_a_wrong_one() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean game2018 or plato_game or jsccr_grade\?"):
        clinical.describe("gaem")
    with pytest.raises(ConfigError, match=r"Did you mean \w+ or \w+ or \w+\?"):
        clinical.describe("resect")
