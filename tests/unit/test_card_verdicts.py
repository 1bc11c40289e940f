"""The verdicts of the card: what an interval allows to say, and what takes the praise out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folder import edit_run
from test_card import _rewrite, _table

from radiomics_crlm.report import build_card, render_card
from radiomics_crlm.report.wording import interval


def _with_difference(run: Path, reference: str, lower: float, upper: float) -> dict[str, Any]:
    table = _table(run, "comparisons")
    chosen = (table["endpoint"] == "os") & (table["model"] == "combined/ridge") & (table["reference"] == reference)
    chosen &= table["metric"].isin(["c_index", "c_index_folds"])
    assert chosen.sum() == 2
    table.loc[chosen, ["difference", "lower", "upper"]] = ((lower + upper) / 2, lower, upper)
    _rewrite(run, "comparisons", table)
    return next(v for v in build_card(run)["verdicts"] if v["endpoint"] == "os")


@pytest.mark.parametrize(
    ("lower", "upper", "tone", "conclusion"),
    [
        (0.01, 0.09, "better", "evidence that the model is better."),
        (-0.01, 0.09, "none", "no evidence that the model is better."),
        (0.0, 0.09, "none", "no evidence that the model is better."),
        (-0.09, 0.0, "none", "no evidence that the model is better."),
        (-0.09, -0.01, "worse", "evidence that the model is worse."),
    ],
)
def test_only_an_interval_without_zero_is_evidence(
    fresh: Callable[..., Path], lower: float, upper: float, tone: str, conclusion: str
) -> None:
    verdict = _with_difference(fresh(), "fong_crs", lower, upper)
    line = verdict["lines"][0]
    assert (line["tone"], line["conclusion"]) == (tone, conclusion)
    assert line["text"].endswith(f": {conclusion}")
    assert interval((lower + upper) / 2, lower, upper, signed=True) in line["numbers"]


def test_limit_beside_zero_does_not_read_as_zero(fresh: Callable[..., Path]) -> None:
    line = _with_difference(fresh(), "fong_crs", 0.002, 0.09)["lines"][0]
    assert "(0.002 to 0.090)" in line["numbers"]


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [
        (-0.03, 0.05, "no evidence that it helps here."),
        (0.01, 0.05, "evidence that it helps here."),
        (-0.05, -0.01, "evidence that it harms here."),
    ],
)
def test_what_radiomics_adds(fresh: Callable[..., Path], lower: float, upper: float, words: str) -> None:
    verdict = _with_difference(fresh(), "clinical/ridge", lower, upper)
    line = next(line for line in verdict["lines"] if line["kind"] == "radiomics")
    assert line["conclusion"] == words
    assert line["numbers"].startswith(f"Radiomics adds {interval((lower + upper) / 2, lower, upper)} to Clinical")


def test_difference_saved_the_other_way_round_is_turned(fresh: Callable[..., Path]) -> None:
    run = fresh()
    before = build_card(run)["verdicts"]
    table = _table(run, "comparisons")
    turned = table.assign(
        model=table["reference"], reference=table["model"], difference=-table["difference"],
        lower=-table["upper"], upper=-table["lower"],
    )  # fmt: skip
    _rewrite(run, "comparisons", turned)
    assert build_card(run)["verdicts"] == before


def test_score_that_nobody_has_is_said_so(fresh: Callable[..., Path]) -> None:
    run = fresh(comparators=["fong_crs", "tbs2018"])
    for name, columns in (("metrics", ["model"]), ("comparisons", ["reference"])):
        table = _table(run, name)
        _rewrite(run, name, table[~table[columns].isin(["fong_crs"]).any(axis=1)])
    scores = json.loads((run / "run.json").read_text())["rule_scores"]
    for endpoint in scores.values():
        endpoint["fong_crs"] |= {"n_assessable": 0, "n_not_assessable": 60}
    edit_run(run, rule_scores=scores)
    verdict = build_card(run)["verdicts"][0]
    assert verdict["lines"][0]["tone"] == "absent"
    assert verdict["lines"][0]["conclusion"].endswith("it can be assessed in no patient of this cohort.")
    assert "Tumour burden score" in verdict["headline"]


def _set_difference(run: Path, reference: str, sign: int) -> None:
    table = _table(run, "comparisons")
    chosen = (table["model"] == "combined/ridge") & (table["reference"] == reference) & (table["endpoint"] == "os")
    lower, upper = sorted((sign * 0.02, sign * 0.08)) if sign else (-0.02, 0.08)
    table.loc[chosen, ["difference", "lower", "upper"]] = ((lower + upper) / 2, lower, upper)
    _rewrite(run, "comparisons", table)


@pytest.mark.parametrize(
    ("fong", "burden", "start", "tone"),
    [
        (1, 1, "The model ranks patients better than the Fong clinical risk score and Tumour burden score;", "better"),
        (0, 1, "No evidence that the model is better than the Fong clinical risk score; the model ranks", "none"),
        (0, 0, "No evidence that the model is better than the Fong clinical risk score or Tumour burden", "none"),
        (1, -1, "The model ranks patients worse than the Tumour burden score; the model ranks", "worse"),
    ],
)
def test_headline_names_every_score_and_the_sobering_first(
    fresh: Callable[..., Path], fong: int, burden: int, start: str, tone: str
) -> None:
    run = fresh(comparators=["fong_crs", "tbs2018"])
    _set_difference(run, "fong_crs", fong)
    _set_difference(run, "tbs2018", burden)
    verdict = build_card(run)["verdicts"][0]
    assert verdict["headline"].startswith(start)
    assert verdict["tone"] == tone


def test_no_claim_takes_the_praise_out_of_the_verdict(fresh: Callable[..., Path]) -> None:
    run = fresh(performance_claim=False)
    _set_difference(run, "fong_crs", 1)
    verdict = build_card(run)["verdicts"][0]
    assert verdict["headline"].startswith("No performance claim. The model ranks")
    assert verdict["tone"] == "none"


@pytest.mark.parametrize(
    ("estimate", "limits", "kind"),
    [(0.55, (0.48, 0.62), "chance"), (0.9, (0.86, 0.94), "suspicious"), (0.62, (0.55, 0.69), None)],
)
def test_chance_and_the_too_good_are_named(
    fresh: Callable[..., Path], estimate: float, limits: tuple[float, float], kind: str | None
) -> None:
    run = fresh()
    table = _table(run, "metrics")
    chosen = (table["endpoint"] == "os") & (table["model"] == "combined/ridge") & (table["metric"] == "c_index")
    table.loc[chosen, ["estimate", "lower", "upper"]] = (estimate, *limits)
    _rewrite(run, "metrics", table)
    kinds = {line["kind"] for line in next(v for v in build_card(run)["verdicts"] if v["endpoint"] == "os")["lines"]}
    assert kinds & {"chance", "suspicious"} == ({kind} if kind else set())


_LATE = [{"column": "margin_positive", "available_at": "postoperative", "speaks_at": "preoperative"}]


def test_leak_is_announced_and_voids_the_verdict(fresh: Callable[..., Path]) -> None:
    run = fresh(endpoints=("os", "recurrence"))
    edit_run(run, leak={"allowed": True, "refused": {}, "admitted": {"os": _LATE}})
    card = build_card(run)
    notice = card["notices"][0]
    assert notice["kind"] == "leak"
    assert notice["text"].startswith("LEAK")
    verdicts = {v["endpoint"]: v for v in card["verdicts"]}
    assert verdicts["os"]["headline"].startswith("Not valid")
    assert {line["tone"] for line in verdicts["os"]["lines"]} == {"void"}
    assert {line["conclusion"] for line in verdicts["os"]["lines"]} == {"not valid, because of the leak."}
    assert not verdicts["recurrence"]["leaked"]
    page = render_card(card)
    banner = re.search(r'<div class="notice leak-warning" role="alert">(.*?)</div>', page, re.DOTALL)
    assert banner is not None
    assert re.sub(r"<[^>]+>", "", banner[1]).strip().startswith("LEAK")
    assert "margin_positive" in banner[1]
    assert "only after the liver operation" in banner[1]


def test_leak_listed_without_endpoints_is_shown_too(fresh: Callable[..., Path]) -> None:
    run = fresh(endpoints=("os", "recurrence"))
    edit_run(run, leak={"allowed": True, "refused": [], "admitted": _LATE})
    assert {v["leaked"] for v in build_card(run)["verdicts"]} == {True}


def test_no_claim_and_simulated_are_prominent(
    fresh: Callable[..., Path], text_of: Callable[[dict[str, Any]], str]
) -> None:
    run = fresh(performance_claim=False, cautions=["Patients were selected on survival."])
    edit_run(run, cohort={"name": "simulated cohort", "simulated": True, "patients_in": 61})
    card = build_card(run)
    assert [n["kind"] for n in card["notices"]] == ["claim", "simulated"]
    assert card["notices"][0]["text"] == "No performance claim: Patients were selected on survival."
    page = text_of(card)
    assert page.index("No performance claim:") < page.index("C is the share of pairs")
