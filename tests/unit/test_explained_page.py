"""The explanation and the nomogram on the card say what their tables hold, and nothing of single patients."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.clinical import inputs_of
from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.report.artefacts import load_artefacts
from radiomics_crlm.report.beside_score import FEWEST, _kept, block_shares
from radiomics_crlm.report.explained import explained
from radiomics_crlm.report.explained_figures import DRAWN
from radiomics_crlm.report.nomogram_page import nomograms
from radiomics_crlm.report.wording import fixed

Card = dict[str, Any]
MODEL = "combined/ridge"


@pytest.fixture(scope="module")
def card(full_run: Path) -> Card:
    artefacts = load_artefacts(full_run)
    return {"explained": explained(artefacts, {}), "nomograms": nomograms(artefacts, {})}


def _saved(run: Path, name: str, endpoint: str = "recurrence") -> pd.DataFrame:
    table = read_table(run / "tables" / f"{name}.parquet", name)
    return table[table["endpoint"] == endpoint].reset_index(drop=True)


def _of(card: Card, key: str, kind: str, words: str) -> list[Card]:
    """Blocks of a kind whose title, caption or text begins with these words."""
    found = [b for b in card[key]["blocks"] if b["kind"] == kind]
    return [b for b in found if str(b.get("title", b.get("caption", b.get("text")))).startswith(words)]


def _rows(block: Card) -> dict[tuple[str, str], list[Card]]:
    return {(g["title"], r["head"]): r["cells"] for g in block["groups"] for r in g["rows"]}


def test_bars_are_the_groups_of_the_table(full_run: Path, card: Card) -> None:
    saved = _saved(full_run, "input_groups")
    drawn = _of(card, "explained", "figure", "What moves")[0]["data"]["rows"]
    size = saved.groupby("group")["group_importance"].first().sort_values(ascending=False)
    assert [r["importance"] for r in drawn] == pytest.approx(size.head(10).tolist(), abs=1e-5)
    members = saved[saved["group"] == size.index[0]]["feature"].tolist()
    assert drawn[0]["members"] == len(members)
    several = _of(card, "explained", "table", "Groups of several")[0]
    counts = saved["group"].value_counts()
    assert len(_rows(several)) == (counts > 1).sum()


def test_shares_beside_the_score_add_up(full_run: Path, card: Card) -> None:
    """Each share by a loop over patients."""
    saved = _saved(full_run, "attributions")
    blocks = _saved(full_run, "input_groups").set_index("feature")["block"]
    known = set(inputs_of("fong_crs"))
    assert {"node_positive_primary", "dfi_months", "n_liver_mets", "largest_met_mm", "cea_ng_ml"} <= known
    size = {"score": 0.0, "clinical": 0.0, "radiomics": 0.0}
    for _, own in saved.groupby("patient_id"):
        total = dict.fromkeys(size, 0.0)
        for row in own.to_dict("records"):
            column = row["feature"].replace(" (missing)", "").split("=")[0]
            total["score" if column in known else blocks[row["feature"]]] += row["attribution"]
        for kind in size:
            size[kind] += abs(total[kind])
    found = block_shares(saved, blocks)
    assert sum(one["share"] for one in found.values()) == pytest.approx(1.0)
    for kind, one in found.items():
        assert one["share"] == pytest.approx(size[kind] / sum(size.values()))
    sentence = _of(card, "explained", "text", "Of what moves")[0]["text"]
    for one in found.values():
        assert f"{fixed(100 * one['share'], 0)} %" in sentence


def test_spread_at_equal_score_is_that_of_the_predictions(full_run: Path, card: Card) -> None:
    predictions = _saved(full_run, "predictions")
    chance = predictions[predictions["model"] == MODEL].groupby("patient_id")["probability_24m"].mean()
    rules = read_table(full_run / "tables" / "rules.parquet", "rules")
    score = rules[rules["rule"] == "fong_crs"].set_index("patient_id")["score"].reindex(chance.index)
    drawn = _of(card, "explained", "figure", "Predictions among")[0]["data"]["rows"]
    assert drawn
    for row in drawn:
        own = chance[score == row["score"]]
        assert row["n"] == len(own) >= FEWEST
        assert (row["low"], row["median"], row["high"]) == pytest.approx(np.quantile(own, [0.1, 0.5, 0.9]), abs=1e-4)
    assert {r["score"] for r in drawn} <= set(score.value_counts()[lambda n: n >= FEWEST].index)


def test_few_patients_of_one_score_are_not_told_by_the_total() -> None:
    def group(n: int) -> pd.Series:
        return pd.Series(np.linspace(0.1, 0.9, n))

    assert [r["score"] for r in _kept({0.0: group(20), 1.0: group(12), 2.0: group(3)})] == [0.0]
    assert [r["score"] for r in _kept({0.0: group(20), 1.0: group(12), 2.0: group(7)})] == [0.0, 1.0]
    assert [r["score"] for r in _kept({0.0: group(20), 1.0: group(12)})] == [0.0, 1.0]
    assert _kept({0.0: group(9)}) == []


def test_stability_repeats_its_table(full_run: Path, card: Card) -> None:
    saved = _saved(full_run, "attribution_stability").set_index("feature")
    table = _of(card, "explained", "table", "Stability of")[0]
    rows = _rows(table)
    assert len(rows) == 10
    for (_, feature), cells in rows.items():
        assert cells[0]["value"] == pytest.approx(saved.loc[feature, "used_share"], abs=1e-4)
        assert cells[1]["value"] == pytest.approx(saved.loc[feature, "sign_agreement"], abs=1e-4)
        assert cells[3]["value"] == saved.loc[feature, "rank_median"]
    text = _of(card, "explained", "text", "Would another model")[0]["text"]
    assert fixed(saved["rank_correlation"].iloc[0], 2) in text


def test_probabilities_are_in_percentage_points(full_run: Path, card: Card) -> None:
    saved = _saved(full_run, "probability_attributions")
    mean = saved["attribution"].abs().groupby([saved["feature"], saved["months"]]).mean()
    for (_, feature), cells in _rows(_of(card, "explained", "table", "How far")[0]).items():
        expected = [100 * mean[feature, month] for month in (12.0, 24.0)]
        assert [c["value"] for c in cells] == pytest.approx(expected, abs=1e-3)


def test_dependence_shows_where_data_are(full_run: Path, card: Card) -> None:
    saved = _saved(full_run, "dependence")
    panels = _of(card, "explained", "figure", "Partial")[0]["data"]["panels"]
    assert [p["title"] for p in panels] == list(dict.fromkeys(saved["column"]))
    for panel in panels:
        own = saved[(saved["column"] == panel["title"]) & (saved["part"] == "curve")]
        assert panel["mean"] == pytest.approx(own["mean"].tolist())
        assert panel["supported"] == (own["supported"] == 1).tolist()
        assert all(b["n"] >= 5 for b in panel["bins"])
    table = _of(card, "explained", "table", "Probability within 24 months at")[0]
    first = _rows(table)["cea_ng_ml", "5"]
    row = saved[(saved["column"] == "cea_ng_ml") & (saved["value"] == 5.0) & (saved["part"] == "curve")].iloc[0]
    assert first[0]["text"] == f"{100 * row['mean']:.0f} %"


def test_nomogram_repeats_its_tables(full_run: Path, card: Card) -> None:
    points, totals = _saved(full_run, "nomogram_points"), _saved(full_run, "nomogram_totals")
    rows = _rows(_of(card, "nomograms", "table", "Points of")[0])
    assert len(rows) == len(points)
    assert rows["age_years (years)", "40"][0]["value"] == 100.0
    assert rows["age_years (years)", "0"][1]["text"] == "32.5 (as 13)"
    data = _of(card, "nomograms", "figure", "Nomogram")[0]["data"]
    for drawn, month in zip(data["totals"], (12.0, 24.0, 36.0), strict=True):
        own = totals[totals["months"] == month]
        for tick in drawn["ticks"]:
            p = np.interp(tick["total"], own["total"], own["probability"])
            assert 100 * p == pytest.approx(float(tick["text"].split()[0]), abs=0.2)
    for (_, total), cells in _rows(_of(card, "nomograms", "table", "Probability of")[0]).items():
        own = totals[totals["total"] == float(total)].sort_values("months")
        assert [c["value"] for c in cells] == pytest.approx(own["probability"].tolist(), abs=1e-5)
    text = _of(card, "nomograms", "text", "Find the points")[0]["text"]
    assert "at most 0.4 percentage points" in text
    assert "unknown" in text


def test_figures_are_well_formed_named_and_described(card: Card) -> None:
    drawn = [
        b
        for key in ("explained", "nomograms")
        for b in card[key]["blocks"]
        if b["kind"] == "figure" and b["draw"] in DRAWN
    ]
    assert {b["draw"] for b in drawn} == set(DRAWN)
    for kind in DRAWN:
        block = next(b for b in drawn if b["draw"] == kind)
        svg = DRAWN[kind](block["data"], ident="f", title="A <b> & name")
        root = ET.fromstring(svg)  # noqa: S314 (our own output)
        assert root[0].text == "A <b> & name"
        assert len(str(root[1].text)) > 40
    assert svg == DRAWN[kind](json.loads(json.dumps(block["data"])), ident="f", title="A <b> & name")


def test_no_key_of_a_patient_is_on_the_page(full_run: Path, card: Card) -> None:
    keys = set(_saved(full_run, "attributions")["patient_id"])
    text = json.dumps(card["explained"]) + json.dumps(card["nomograms"])
    assert not [key for key in keys if key in text]


def test_what_cannot_be_told_is_said(full_copy: Path) -> None:
    """No Fong score, one fold: one line each."""
    rules = read_table(full_copy / "tables" / "rules.parquet", "rules")
    write_table(rules[rules["rule"] != "fong_crs"], full_copy / "tables" / "rules.parquet", "rules")
    stability = read_table(full_copy / "tables" / "attribution_stability.parquet", "attribution_stability")
    write_table(
        stability.assign(folds=1), full_copy / "tables" / "attribution_stability.parquet", "attribution_stability"
    )
    blocks = explained(load_artefacts(full_copy), {})["blocks"]
    reasons = [b["absent"] for b in blocks if b["kind"] == "absent"]
    assert "the run did not assess the Fong score" in reasons
    assert "there is one fold only" in reasons


def test_a_nomogram_of_too_many_columns_stays_a_table(full_copy: Path) -> None:
    points = read_table(full_copy / "tables" / "nomogram_points.parquet", "nomogram_points")
    many = [points.assign(column=points["column"] + f"_{k}") for k in range(8)]
    write_table(pd.concat(many), full_copy / "tables" / "nomogram_points.parquet", "nomogram_points")
    blocks = nomograms(load_artefacts(full_copy), {})["blocks"]
    assert "figure" not in {b["kind"] for b in blocks}
    assert "more than 40 columns" in next(b["absent"] for b in blocks if b["kind"] == "absent")


def test_models_that_were_not_explained_have_no_blocks(full_copy: Path) -> None:
    (full_copy / "tables" / "attributions.parquet").unlink()
    assert explained(load_artefacts(full_copy), {})["blocks"] == []
