"""The sections of the card: every number on the page is in its JSON, nothing of one patient, no empty section."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from card_numbers import MINUS, Page, leaves, numbers, resolve
from full_run_folder import CATEGORIES, make_full_run_folder
from run_folder import edit_run, experiment
from scipy import stats

from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.report import build_card, render_card
from radiomics_crlm.report.artefacts import OPTIONAL, load_artefacts
from radiomics_crlm.report.contents import SECTIONS
from radiomics_crlm.report.wording import fixed, interval

Card = dict[str, Any]
_SHOWN = "combined/ridge"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_full_run_folder(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def card(run: Path) -> Card:
    return build_card(run)


@pytest.fixture(scope="module")
def page(card: Card) -> str:
    return render_card(card)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def _saved(run: Path, name: str) -> pd.DataFrame:
    return read_table(run / "tables" / f"{name}.parquet", name)


def _blocks(card: Card, key: str, kind: str) -> list[Card]:
    return [b for b in card[key]["blocks"] if b["kind"] == kind]


def _cells(block: Card) -> dict[tuple[str, str], dict[str, Card]]:
    """Cells of a table block: (group, row) -> column -> cell."""
    names = [" ".join(filter(None, (c["title"], c["trait"]))) for c in block["columns"]]
    return {
        (g["title"], r["head"]): dict(zip(names, r["cells"], strict=True)) for g in block["groups"] for r in g["rows"]
    }


# --- every number traces to the card -------------------------------------------------------------------------------


def test_every_number_of_a_table_stands_at_the_place_that_its_cell_names(card: Card, page: str) -> None:
    saved = json.loads(json.dumps(card))
    traced = 0
    for cell in Page(page).cells:
        found = numbers(cell.text)
        if not found:
            continue
        path = cell.attributes.get("data-path")
        assert path, f"{cell.section}: {cell.text!r} names no place"
        known = {token for place in path.split() for text in leaves(resolve(saved, place)) for token in numbers(text)}
        assert found <= known, f"{cell.section}: {cell.text!r} is not at {path}"
        traced += 1
    assert traced > 500
    assert len({c.section for c in Page(page).cells if c.attributes.get("data-path")}) >= 15


def test_every_number_that_a_reader_sees_is_in_the_card(card: Card, page: str) -> None:
    known = {token for text in leaves(card) for token in numbers(text)}
    seen = numbers(" ".join(Page(page).text))
    # Lengths of lists that the template counts, and 95 % intervals of captions.
    counted = {str(len(v)) for v in _lists(card)} | {"95", "256"}
    assert seen - known - counted == set()


def _lists(part: Any) -> list[Any]:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return ([part] if isinstance(part, list | dict) else []) + [found for value in inner for found in _lists(value)]


def test_a_cell_shows_what_is_behind_it(card: Card) -> None:
    checked = 0
    for part in _lists(card):
        if (
            isinstance(part, dict)
            and {"text", "estimate", "lower", "upper"} == set(part)
            and part["estimate"] is not None
        ):
            shown = part["text"].partition(" ")[0]
            decimals = len(shown.partition(".")[2])
            assert part["text"] == interval(part["estimate"], part["lower"], part["upper"], decimals)
            assert float(shown.replace(MINUS, "-")) == pytest.approx(part["estimate"], abs=0.6 * 10**-decimals)
            checked += 1
    assert checked > 150


def test_the_page_is_made_from_the_json_alone(card: Card, page: str) -> None:
    assert render_card(json.loads(json.dumps(card, sort_keys=True))) == page


# --- what the sections say is what the tables hold -----------------------------------------------------------------


def test_sample_size_repeats_its_table(run: Path, card: Card) -> None:
    saved = _saved(run, "sample_size")
    cells = _cells(_blocks(card, "sample_size", "table")[0])
    assert len(cells) == len(saved)
    first = saved.iloc[0]
    shown = cells[next(iter(cells))]
    assert shown["Patients"]["value"] == first["n"]
    assert shown["Needed: shrinkage of 0.9 or more"]["value"] == first["n_shrinkage"]
    assert shown["Enough?"]["text"] == "no"
    drawn = _blocks(card, "sample_size", "figure")[0]["data"]["rows"]
    assert [r["needed"] for r in drawn] == saved["n_required"].tolist()


def test_metrics_at_the_horizons_are_those_of_the_table(run: Path, card: Card) -> None:
    saved = _saved(run, "horizon_metrics").set_index(["endpoint", "model", "horizon_months", "metric"]).sort_index()
    table = _blocks(card, "horizons", "table")[0]
    cells = _cells(table)
    assert {group for group, _ in cells} == {"By 12 months", "By 24 months", "By 36 months"}
    row = cells["By 24 months", "Combined (penalised regression)"]
    source = saved.loc[("recurrence", _SHOWN, 24.0)]
    for metric, name, decimals in (
        ("ici", "ICI", 3),
        ("e90", "E90", 3),
        ("observed_expected", "Observed / expected", 2),
    ):
        found = next(cell for column, cell in row.items() if column.startswith(name))
        expected = source.loc[metric]
        assert found["text"] == interval(expected["estimate"], expected["lower"], expected["upper"], decimals)


def test_calibration_curves_end_where_five_patients_lie_beyond(run: Path, card: Card) -> None:
    predictions = _saved(run, "predictions").query("endpoint == 'recurrence' and model == @_SHOWN", engine="python")
    panels = _blocks(card, "horizons", "figure")[0]["data"]["panels"]
    assert [p["months"] for p in panels] == [12, 24, 36]
    for panel in panels:
        curve = next(c for c in panel["curves"] if c["model"] == _SHOWN)
        by_patient = predictions.groupby("patient_id")[f"probability_{panel['months']:.0f}m"]
        assert (by_patient.min() < curve["predicted"][0]).sum() >= 5
        assert (by_patient.max() > curve["predicted"][-1]).sum() >= 5
        assert all(a <= b <= c for a, b, c in zip(curve["lower"], curve["observed"], curve["upper"], strict=True))


def test_net_benefit_is_that_of_the_table(run: Path, card: Card) -> None:
    saved = _saved(run, "decision_curves")
    for number, endpoint in enumerate(("recurrence", "os")):
        cells = _cells(_blocks(card, "decisions", "table")[number])
        row = cells["By 24 months", "Combined (penalised regression)"]
        own = saved[(saved["endpoint"] == endpoint) & (saved["model"] == _SHOWN) & (saved["horizon_months"] == 24)]
        for threshold, cell in row.items():
            source = own.iloc[(own["threshold"] - float(threshold.split()[0]) / 100).abs().argmin()]
            few = round(source["treated"] * source["n"], 3)
            if pd.isna(source["net_benefit"]):
                assert cell["text"] == "–"
            elif 0 < few < 5 or 0 < source["n"] - few < 5:
                assert cell["text"] == "too few"
            else:
                assert cell["value"] == source["net_benefit"]
                assert cell["text"].startswith(fixed(source["net_benefit"], 3))
        drawn = _blocks(card, "decisions", "figure")[number]["data"]["panels"]
        assert {c["model"] for p in drawn for c in p["curves"]} >= {_SHOWN, "treat_all", "treat_none"}


def test_points_that_few_patients_carry_are_not_drawn(run: Path, card: Card) -> None:
    saved = _saved(run, "decision_curves").set_index(["endpoint", "horizon_months", "model"]).sort_index()
    hidden = 0
    for block, endpoint in zip(_blocks(card, "decisions", "figure"), ("recurrence", "os"), strict=True):
        for panel in block["data"]["panels"]:
            for curve in panel["curves"]:
                own = saved.loc[(endpoint, panel["months"], curve["model"])]
                for threshold, shown in zip(curve["threshold"], curve["net_benefit"], strict=True):
                    source = own[np.isclose(own["threshold"], threshold)].iloc[0]
                    few = round(source["treated"] * source["n"], 3)
                    if 0 < few < 5 or 0 < source["n"] - few < 5:
                        assert shown is None
                        hidden += 1
    assert hidden > 0


def test_subgroups_are_those_of_the_table_and_small_ones_are_hidden(run: Path, card: Card) -> None:
    saved = _saved(run, "subgroups").set_index(["endpoint", "model", "column", "level", "metric"])
    cells = _cells(_blocks(card, "subgroups", "table")[0])
    female = saved.loc[("recurrence", _SHOWN, "sex", "female", "c_index")]
    row = next(cells[key] for key in cells if key[1] == "female")
    assert (row["n"]["value"], row["Events"]["value"]) == (female["n"], female["events"])
    shown = next(cell for name, cell in row.items() if name.startswith("C: Combined"))
    assert shown["text"] == interval(female["estimate"], female["lower"], female["upper"])
    few = {key[1]: row for key, row in cells.items() if key[1] in ("yes", "no")}
    assert few["yes"]["n"] == {"text": "<5", "value": None}
    assert few["no"]["n"]["text"] == "not shown"
    assert {cell["text"] for name, cell in few["yes"].items() if name.startswith("C:")} == {"too few"}


def test_no_count_of_a_subgroup_is_below_five_or_gives_one_away(run: Path, card: Card) -> None:
    saved = _saved(run, "subgroups")
    for block, endpoint in zip(_blocks(card, "subgroups", "table"), ("recurrence", "os"), strict=True):
        totals = saved[(saved["endpoint"] == endpoint) & (saved["model"] == _SHOWN) & (saved["metric"] == "c_index")]
        assert len(totals) > 0
        for group in block["groups"]:
            for place in (0, 1):
                values = [r["cells"][place]["value"] for r in group["rows"]]
                assert all(v is None or v == 0 or v >= 5 for v in values)
                assert values.count(None) != 1
            for r in group["rows"]:
                n, events = (r["cells"][k]["value"] for k in (0, 1))
                assert n is None or events is None or n - events == 0 or n - events >= 5


def test_reclassification_stands_below_its_caution_and_speaks_for_the_model_of_the_card(run: Path, card: Card) -> None:
    blocks = card["reclassification"]["blocks"]
    saved = _saved(run, "reclassification")
    assert blocks[0] == {"kind": "caution", "text": saved["caution"].iloc[0]}
    assert f"{100 * CATEGORIES[0]:g} % and {100 * CATEGORIES[1]:g} %" in blocks[1]["caption"]
    cells = _cells(blocks[1])
    own = saved[(saved["endpoint"] == "recurrence") & (saved["metric"] == "idi")]
    straight = own[(own["model"] == _SHOWN) & (own["reference"] == "clinical/ridge")].iloc[0]
    idi = next(c for name, c in cells["", "Clinical (penalised regression)"].items() if name.startswith("IDI"))
    assert idi["text"] == interval(straight["estimate"], straight["lower"], straight["upper"], 3)
    turned = own[own["reference"] == _SHOWN]
    assert turned["model"].tolist() == ["combined/xgboost"]
    idi = next(c for name, c in cells["", "Combined (boosted trees)"].items() if name.startswith("IDI"))
    assert (idi["estimate"], idi["lower"]) == (-turned["estimate"].iloc[0], -turned["upper"].iloc[0])


def test_instability_is_told_in_groups_only(run: Path, card: Card) -> None:
    saved = _saved(run, "instability").query("endpoint == 'os'", engine="python")
    cells = _cells(_blocks(card, "instability", "table")[0])
    row = next(
        row
        for (group, _), row in cells.items()
        if group == "Overall survival after liver surgery" or "survival" in group
    )
    change = next(c for name, c in row.items() if name.startswith("Mean change"))
    assert change["value"] == pytest.approx(100 * saved["mape"].mean(), abs=1e-3)
    for block in _blocks(card, "instability", "figure"):
        assert all(g["n"] >= 20 for g in block["data"]["groups"])
        assert sum(g["n"] for g in block["data"]["groups"]) == len(saved) or len(saved) > 0


def test_thresholds_are_summed_up_over_the_folds(run: Path, card: Card) -> None:
    saved = _saved(run, "thresholds")
    cells = _cells(_blocks(card, "thresholds", "table")[0])
    row = cells["Net benefit from 0.2 to 0.4", "Combined (penalised regression)"]
    own = saved[(saved["endpoint"] == "recurrence") & (saved["model"] == _SHOWN) & saved["rule"].str.startswith("net")]
    assert (
        row["Folds with a threshold, of all"]["text"] == f"{own['threshold'].notna().sum()} of {len(own)}" == "8 of 10"
    )
    known = own["threshold"].dropna()
    expected = f"{known.median():.2f} ({known.min():.2f} to {known.max():.2f})"
    assert row["Threshold median (lowest to highest)"]["text"] == expected
    mean = np.average(own["sensitivity"], weights=own["n"])
    assert row["Sensitivity in test patients"]["value"] == pytest.approx(mean, abs=1e-4)


def test_predictions_are_set_against_the_volume(run: Path, card: Card) -> None:
    volume = _saved(run, "features_patient").set_index("patient_id")["burden__total_volume_ml"]
    risk = _saved(run, "predictions").query("endpoint == 'os' and model == @_SHOWN", engine="python")
    mean = risk.groupby("patient_id")["risk"].mean()
    expected = stats.spearmanr(mean, volume.reindex(mean.index)).statistic
    table = _blocks(card, "robustness", "table")[0]
    found = [r for g in table["groups"] for r in g["rows"] if r["head"].startswith("Combined (pen")][1]["cells"][1]
    assert found["estimate"] == pytest.approx(expected, abs=1e-4)


def test_stability_counts_are_those_of_the_table(run: Path, card: Card) -> None:
    saved = _saved(run, "feature_stability")
    drawn = _blocks(card, "robustness", "figure")[0]["data"]["rows"]
    assert sum(r["stable"] for r in drawn) == saved["stable"].sum()
    assert sum(r["total"] for r in drawn) == len(saved)
    said = _blocks(card, "robustness", "text")[-1]["text"]
    assert f"{saved['stable'].sum()} of {len(saved)} features are stable" in said
    assert f"{(saved['volume_spearman'].abs() >= 0.8).sum()} of {len(saved)} follow the volume" in said
    features = _blocks(card, "robustness", "table")[-1]
    assert sum(len(g["rows"]) for g in features["groups"]) == len(saved) - 3  # three were offered to no model


def test_statement_names_the_features_used_and_no_others(run: Path, card: Card) -> None:
    statement = json.loads((run / "tables" / "ibsi_statement.json").read_text())["ct-portal-venous"]
    columns = json.loads((run / "run.json").read_text())["models"]["os"][_SHOWN]["columns"]
    used = {c.partition("__")[2] for c in columns if "__" in c}
    wanted = {f["name"] for f in statement["features"] if f["name"] in used and not f["standardised"]}
    assert wanted
    named = {item.partition(" (")[0] for b in _blocks(card, "standardisation", "names") for item in b["items"]}
    assert named == wanted
    counts = _cells(_blocks(card, "standardisation", "table")[0])
    for (_, reason), row in counts.items():
        expected = sum(
            reason.replace(" ", "_") in (*f["deviations"], *f["notes"])
            for f in statement["features"]
            if f["name"] in used
        )
        assert row["Features of those offered"]["value"] == expected


def test_sign_off_is_empty(card: Card, page: str) -> None:
    block = page[page.index('<h2 id="signoff">') :]
    cells = [c for c in Page(block).cells if "data-path" not in c.attributes and c.attributes.get("scope") is None]
    assert len(cells) == len(card["signoff"]["rows"]) * len(card["signoff"]["fields"])
    assert {c.text for c in cells} == {""}
    assert "<input" not in page
    assert "<form" not in page


# --- privacy -------------------------------------------------------------------------------------------------------


def test_no_number_of_one_patient_is_on_the_card(run: Path, card: Card) -> None:
    shown = {repr(v) for part in _lists(card) for v in (part.values() if isinstance(part, dict) else part)
             if isinstance(v, float)}  # fmt: skip
    predictions, refits, features = (_saved(run, n) for n in ("predictions", "instability", "features_patient"))
    columns = [predictions[c] for c in ("risk", "probability_12m", "probability_24m", "probability_36m")]
    columns += [refits[c] for c in ("prediction", "mean", "lower", "upper", "mape", "reclassified")]
    columns += [features[c] for c in features.columns if "__" in c]
    # 0 and 1 are the ends of what a probability can be.
    values = {repr(float(v)) for column in columns for v in column.dropna()} - {"0.0", "1.0"}
    assert len(values) > 1000
    assert shown.isdisjoint(values)


def test_no_patient_key_is_on_the_page(run: Path, card: Card, page: str) -> None:
    text = json.dumps(card)
    for key in set(_saved(run, "instability")["patient_id"]) | set(_saved(run, "features_patient")["patient_id"]):
        assert key not in text
        assert key not in page


# --- nothing is empty ----------------------------------------------------------------------------------------------


def test_every_section_has_content_and_a_place_in_the_contents(card: Card, page: str) -> None:
    order = [part.ident for part in SECTIONS]
    assert [s["id"] for s in card["sections"]] == order
    assert re.findall(r'<h2 id="([^"]+)">', page) == order
    bodies = re.split(r"<h2 ", page)[1:]
    for name, body in zip(order, bodies, strict=True):
        assert f'href="#{name}"' in page
        content = re.sub(r"^.*?</h2>|<p class=\"lead\">.*?</p>", "", body, flags=re.DOTALL)
        assert re.search(r"<(table|figure|p|ul|dl|div|section)\b", content), name
        assert ("not available:</strong>" in content) == (name == "external"), name


_SECTION_OF = {
    "answers": "answers",
    "sample_size": "sample_size",
    "horizon_metrics": "horizons",
    "calibration_curves": "horizons",
    "decision_curves": "decisions",
    "subgroups": "subgroups",
    "reclassification": "reclassification",
    "instability": "instability",
    "thresholds": "thresholds",
    "conformal_coverage": "uncertainty",
    "features_patient": "robustness",
    "feature_stability": "robustness",
    "input_groups": "explained",
    "attribution_stability": "explained",
    "probability_attributions": "explained",
    "dependence": "explained",
    "nomogram_points": "nomograms",
    "nomogram_totals": "nomograms",
}


@pytest.fixture
def words_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Card], str]:
    """Renders without drawing and strips the tags."""
    monkeypatch.setattr("radiomics_crlm.report.page._figures", lambda _: iter(()))
    return lambda card: " ".join(re.sub(r"<[^>]+>", "", render_card(card)).split())


def _part(run: Path, key: str) -> Any:
    """One part of a card, without the others."""
    build = next(build for section in SECTIONS for name, build in section.parts if name == key)
    return build(load_artefacts(run), {"leak": {"allowed": False, "endpoints": []}})


@pytest.mark.parametrize("table", sorted(_SECTION_OF))
def test_absent_table_is_told_with_its_reason(copy: Path, table: str) -> None:
    (copy / "tables" / f"{table}.parquet").unlink()
    reasons = [b["absent"] for b in _part(copy, _SECTION_OF[table])["blocks"] if b["kind"] == "absent"]
    assert OPTIONAL[table] in reasons


def test_card_without_any_optional_table_says_so_in_one_line_each(copy: Path, words_of: Callable[[Card], str]) -> None:
    for table in OPTIONAL:
        (copy / "tables" / f"{table}.parquet").unlink(missing_ok=True)
    card = build_card(copy)
    words = words_of(card)
    for table in _SECTION_OF:
        assert f"not available: {OPTIONAL[table]}." in words
    assert card["technical"]["tables_absent"] == {}


def test_what_was_not_asked_for_is_told(copy: Path, words_of: Callable[[Card], str]) -> None:
    (copy / "tables" / "ibsi_statement.json").unlink()
    edit_run(copy, experiment=experiment(endpoints=["recurrence", "os"]))
    words = words_of(build_card(copy))
    for reason in (
        "Subgroups not available: the experiment names none.",
        "Reclassification not available: the experiment names no risk categories.",
        "Thresholds not available: the experiment asks for none.",
        "Statement on standardisation not available: no images were measured in this run, so it has no",
    ):
        assert reason in words


def test_clinical_study_needs_no_radiomics_sections(copy: Path, words_of: Callable[[Card], str]) -> None:
    run = json.loads((copy / "run.json").read_text())
    run["experiment"]["feature_sets"] = {"clinical": run["experiment"]["feature_sets"]["clinical"]}
    run["experiment"] |= {"deliver": {}, "answer": None}
    run["models"] = {e: {m: b for m, b in v.items() if m.startswith("clinical")} for e, v in run["models"].items()}
    edit_run(copy, **run)
    words = words_of(build_card(copy))
    assert "Robustness of the features not available: no model of this experiment uses radiomics." in words
    assert "Statement on standardisation not available: no model of this experiment uses radiomics." in words


def test_few_patients_cost_the_curve_and_not_the_card(copy: Path) -> None:
    predictions = _saved(copy, "predictions")
    few = predictions["patient_id"].isin(predictions["patient_id"].unique()[:8])
    write_table(predictions[few], copy / "tables" / "predictions.parquet", "predictions")
    absent = [b for b in _part(copy, "horizons")["blocks"] if b["kind"] == "absent"]
    assert [b["absent"] for b in absent] == ["no curve has 5 patients beyond each of its ends"] * 2


def test_tables_are_named_with_their_hashes(run: Path, card: Card) -> None:
    hashes = card["technical"]["tables"]
    assert set(hashes) >= {"metrics.parquet", "subgroups.parquet", "ibsi_statement.json"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in hashes.values())


# --- other cohorts -------------------------------------------------------------------------------------------------


def _with_other_cohort(copy: Path, **record: Any) -> Card:
    run = json.loads((copy / "run.json").read_text())
    run["experiment"]["design"]["external"] = {"oslo": "data/oslo"}
    flow = {"in": 62, "out": 60, "excluded": [{"stage": "ingest", "code": "x", "reason": "a value is wrong", "n": 2}]}
    edit_run(copy, **(run | {"external": {"oslo": {"cohort": "Oslo", "flow": flow, "lacking": {}} | record}}))
    return build_card(copy)


def test_other_cohort_is_shown_with_its_own_metrics(copy: Path) -> None:
    table = _saved(copy, "metrics").assign(n=60, events=31)
    write_table(table, copy / "tables" / "external" / "oslo" / "metrics.parquet", "metrics")
    card = _with_other_cohort(copy, lacking={"os, combined/ridge": ["cea_ng_ml"]})
    blocks = card["external"]["blocks"]
    assert [b["kind"] for b in blocks] == ["heading", "text", "caution", "table", "table"]
    assert blocks[1]["text"] == "62 patients in the files of the cohort, 60 studied. Excluded: a value is wrong (2)."
    assert "lacks cea_ng_ml" in blocks[2]["text"]
    row = _cells(blocks[4])["", "Combined (penalised regression)"]
    source = table.query("endpoint == 'os' and model == @_SHOWN and metric == 'c_index'").iloc[0]
    assert row["C 0.5 is chance, 1 perfect"]["text"] == interval(source["estimate"], source["lower"], source["upper"])
    assert (row["n"]["text"], row["Events"]["text"]) == ("60", "31")
    assert "data/oslo" not in json.dumps(card)
    assert "external/oslo/metrics.parquet" in card["technical"]["tables"]


def test_other_cohort_without_metrics_is_told(copy: Path) -> None:
    absent = [b for b in _with_other_cohort(copy)["external"]["blocks"] if b["kind"] == "absent"]
    assert [b["absent"] for b in absent] == ["the run wrote no metrics for this cohort"]


# --- what others ask of a card -------------------------------------------------------------------------------------


def test_every_source_attribute_names_a_section_or_a_person(card: Card) -> None:
    cells = _cells(_blocks(card, "attributes", "table")[0])
    assert len(cells) == 31 + 20
    shorts = {s["short"] for s in card["sections"]}
    for row in cells.values():
        where = row["Section of this card"]["text"]
        named = {w.removeprefix("not available: ") for w in where.split("; ") if not w.endswith("needs a person")}
        assert named <= shorts
        assert named or where == "needs a person"
        assert "yes" not in where.lower().split()
    of_chai = {k: v for k, v in cells.items() if k[0] == "Only in the CHAI Applied Model Card"}
    assert len(of_chai) == 20
    texts = {
        title: row["Section of this card"]["text"] for (k, title), row in cells.items() if (k, title) not in of_chai
    }
    assert texts["Fairness in test data of the same source"] == "Subgroups"
    assert texts["Validity in external data"] == "not available: Other cohorts"
    assert texts["Name and contact of the developer"] == "needs a person"
    count = sum(not w.startswith(("not available", "needs")) for w in texts.values())
    assert f"speak of {count} of 31 source attributes" in _blocks(card, "attributes", "text")[0]["text"]


def test_attribute_of_an_absent_table_is_not_available(copy: Path) -> None:
    (copy / "tables" / "subgroups.parquet").unlink()
    cells = _cells(_blocks(build_card(copy), "attributes", "table")[0])
    fairness = next(row for (_, title), row in cells.items() if title.startswith("Fairness in test data"))
    assert fairness["Section of this card"]["text"] == "not available: Subgroups"
