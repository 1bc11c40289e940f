"""The sections of the card: every number on the page is in its JSON, nothing of one patient, no empty section."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from card_numbers import MINUS, Page, leaves, numbers, resolve
from card_parts import Card, blocks_of, cells_of, stored
from full_run_folder import CATEGORIES
from scipy import stats

from radiomics_crlm.report import render_card
from radiomics_crlm.report.contents import SECTIONS
from radiomics_crlm.report.wording import fixed, interval

_SHOWN = "combined/ridge"


# --- every number traces to the card -------------------------------------------------------------------------------


def test_every_number_of_a_table_stands_at_the_place_that_its_cell_names(full_card: Card, full_page: str) -> None:
    saved = json.loads(json.dumps(full_card))
    traced = 0
    for cell in Page(full_page).cells:
        found = numbers(cell.text)
        if not found:
            continue
        path = cell.attributes.get("data-path")
        assert path, f"{cell.section}: {cell.text!r} names no place"
        known = {token for place in path.split() for text in leaves(resolve(saved, place)) for token in numbers(text)}
        assert found <= known, f"{cell.section}: {cell.text!r} is not at {path}"
        traced += 1
    assert traced > 500
    assert len({c.section for c in Page(full_page).cells if c.attributes.get("data-path")}) >= 15


def test_every_number_that_a_reader_sees_is_in_the_card(full_card: Card, full_page: str) -> None:
    known = {token for text in leaves(full_card) for token in numbers(text)}
    seen = numbers(" ".join(Page(full_page).text))
    # Lengths of lists that the template counts, and 95 % intervals of captions.
    counted = {str(len(v)) for v in _lists(full_card)} | {"95", "256"}
    assert seen - known - counted == set()


def _lists(part: Any) -> list[Any]:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return ([part] if isinstance(part, list | dict) else []) + [found for value in inner for found in _lists(value)]


def test_a_cell_shows_what_is_behind_it(full_card: Card) -> None:
    checked = 0
    for part in _lists(full_card):
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


def test_the_page_is_made_from_the_json_alone(full_card: Card, full_page: str) -> None:
    assert render_card(json.loads(json.dumps(full_card, sort_keys=True))) == full_page


# --- what the sections say is what the tables hold -----------------------------------------------------------------


def test_sample_size_repeats_its_table(full_run: Path, full_card: Card) -> None:
    saved = stored(full_run, "sample_size")
    cells = cells_of(blocks_of(full_card, "sample_size", "table")[0])
    assert len(cells) == len(saved)
    first = saved.iloc[0]
    shown = cells[next(iter(cells))]
    assert shown["Patients"]["value"] == first["n"]
    assert shown["Needed: shrinkage of 0.9 or more"]["value"] == first["n_shrinkage"]
    assert shown["Enough?"]["text"] == "no"
    drawn = blocks_of(full_card, "sample_size", "figure")[0]["data"]["rows"]
    assert [r["needed"] for r in drawn] == saved["n_required"].tolist()


def test_metrics_at_the_horizons_are_those_of_the_table(full_run: Path, full_card: Card) -> None:
    saved = (
        stored(full_run, "horizon_metrics").set_index(["endpoint", "model", "horizon_months", "metric"]).sort_index()
    )
    table = blocks_of(full_card, "horizons", "table")[0]
    cells = cells_of(table)
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


def test_calibration_curves_end_where_five_patients_lie_beyond(full_run: Path, full_card: Card) -> None:
    predictions = stored(full_run, "predictions").query(
        "endpoint == 'recurrence' and model == @_SHOWN", engine="python"
    )
    panels = blocks_of(full_card, "horizons", "figure")[0]["data"]["panels"]
    assert [p["months"] for p in panels] == [12, 24, 36]
    for panel in panels:
        curve = next(c for c in panel["curves"] if c["model"] == _SHOWN)
        by_patient = predictions.groupby("patient_id")[f"probability_{panel['months']:.0f}m"]
        assert (by_patient.min() < curve["predicted"][0]).sum() >= 5
        assert (by_patient.max() > curve["predicted"][-1]).sum() >= 5
        assert all(a <= b <= c for a, b, c in zip(curve["lower"], curve["observed"], curve["upper"], strict=True))


def test_net_benefit_is_that_of_the_table(full_run: Path, full_card: Card) -> None:
    saved = stored(full_run, "decision_curves")
    for number, endpoint in enumerate(("recurrence", "os")):
        cells = cells_of(blocks_of(full_card, "decisions", "table")[number])
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
        drawn = blocks_of(full_card, "decisions", "figure")[number]["data"]["panels"]
        assert {c["model"] for p in drawn for c in p["curves"]} >= {_SHOWN, "treat_all", "treat_none"}


def test_points_that_few_patients_carry_are_not_drawn(full_run: Path, full_card: Card) -> None:
    saved = stored(full_run, "decision_curves").set_index(["endpoint", "horizon_months", "model"]).sort_index()
    hidden = 0
    for block, endpoint in zip(blocks_of(full_card, "decisions", "figure"), ("recurrence", "os"), strict=True):
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


def test_subgroups_are_those_of_the_table_and_small_ones_are_hidden(full_run: Path, full_card: Card) -> None:
    saved = stored(full_run, "subgroups").set_index(["endpoint", "model", "column", "level", "metric"])
    cells = cells_of(blocks_of(full_card, "subgroups", "table")[0])
    female = saved.loc[("recurrence", _SHOWN, "sex", "female", "c_index")]
    row = next(cells[key] for key in cells if key[1] == "female")
    assert (row["n"]["value"], row["Events"]["value"]) == (female["n"], female["events"])
    shown = next(cell for name, cell in row.items() if name.startswith("C: Combined"))
    assert shown["text"] == interval(female["estimate"], female["lower"], female["upper"])
    few = {key[1]: row for key, row in cells.items() if key[1] in ("yes", "no")}
    assert few["yes"]["n"] == {"text": "<5", "value": None}
    assert few["no"]["n"]["text"] == "not shown"
    assert {cell["text"] for name, cell in few["yes"].items() if name.startswith("C:")} == {"too few"}


def test_no_count_of_a_subgroup_is_below_five_or_gives_one_away(full_run: Path, full_card: Card) -> None:
    saved = stored(full_run, "subgroups")
    for block, endpoint in zip(blocks_of(full_card, "subgroups", "table"), ("recurrence", "os"), strict=True):
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


def test_reclassification_stands_below_its_caution_and_speaks_for_the_model_of_the_card(
    full_run: Path, full_card: Card
) -> None:
    blocks = full_card["reclassification"]["blocks"]
    saved = stored(full_run, "reclassification")
    assert blocks[0] == {"kind": "caution", "text": saved["caution"].iloc[0]}
    assert f"{100 * CATEGORIES[0]:g} % and {100 * CATEGORIES[1]:g} %" in blocks[1]["caption"]
    cells = cells_of(blocks[1])
    own = saved[(saved["endpoint"] == "recurrence") & (saved["metric"] == "idi")]
    straight = own[(own["model"] == _SHOWN) & (own["reference"] == "clinical/ridge")].iloc[0]
    idi = next(c for name, c in cells["", "Clinical (penalised regression)"].items() if name.startswith("IDI"))
    assert idi["text"] == interval(straight["estimate"], straight["lower"], straight["upper"], 3)
    turned = own[own["reference"] == _SHOWN]
    assert turned["model"].tolist() == ["combined/xgboost"]
    idi = next(c for name, c in cells["", "Combined (boosted trees)"].items() if name.startswith("IDI"))
    assert (idi["estimate"], idi["lower"]) == (-turned["estimate"].iloc[0], -turned["upper"].iloc[0])


def test_instability_is_told_in_groups_only(full_run: Path, full_card: Card) -> None:
    saved = stored(full_run, "instability").query("endpoint == 'os'", engine="python")
    cells = cells_of(blocks_of(full_card, "instability", "table")[0])
    row = next(
        row
        for (group, _), row in cells.items()
        if group == "Overall survival after liver surgery" or "survival" in group
    )
    change = next(c for name, c in row.items() if name.startswith("Mean change"))
    assert change["value"] == pytest.approx(100 * saved["mape"].mean(), abs=1e-3)
    for block in blocks_of(full_card, "instability", "figure"):
        assert all(g["n"] >= 20 for g in block["data"]["groups"])
        assert sum(g["n"] for g in block["data"]["groups"]) == len(saved) or len(saved) > 0


def test_thresholds_are_summed_up_over_the_folds(full_run: Path, full_card: Card) -> None:
    saved = stored(full_run, "thresholds")
    cells = cells_of(blocks_of(full_card, "thresholds", "table")[0])
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


def test_predictions_are_set_against_the_volume(full_run: Path, full_card: Card) -> None:
    volume = stored(full_run, "features_patient").set_index("patient_id")["burden__total_volume_ml"]
    risk = stored(full_run, "predictions").query("endpoint == 'os' and model == @_SHOWN", engine="python")
    mean = risk.groupby("patient_id")["risk"].mean()
    expected = stats.spearmanr(mean, volume.reindex(mean.index)).statistic
    table = blocks_of(full_card, "robustness", "table")[0]
    found = [r for g in table["groups"] for r in g["rows"] if r["head"].startswith("Combined (pen")][1]["cells"][1]
    assert found["estimate"] == pytest.approx(expected, abs=1e-4)


def test_stability_counts_are_those_of_the_table(full_run: Path, full_card: Card) -> None:
    saved = stored(full_run, "feature_stability")
    drawn = blocks_of(full_card, "robustness", "figure")[0]["data"]["rows"]
    assert sum(r["stable"] for r in drawn) == saved["stable"].sum()
    assert sum(r["total"] for r in drawn) == len(saved)
    said = blocks_of(full_card, "robustness", "text")[-1]["text"]
    assert f"{saved['stable'].sum()} of {len(saved)} features are stable" in said
    assert f"{(saved['volume_spearman'].abs() >= 0.8).sum()} of {len(saved)} follow the volume" in said
    features = blocks_of(full_card, "robustness", "table")[-1]
    assert sum(len(g["rows"]) for g in features["groups"]) == len(saved) - 3  # three were offered to no model


def test_statement_names_the_features_used_and_no_others(full_run: Path, full_card: Card) -> None:
    statement = json.loads((full_run / "tables" / "ibsi_statement.json").read_text())["ct-portal-venous"]
    columns = json.loads((full_run / "run.json").read_text())["models"]["os"][_SHOWN]["columns"]
    used = {c.partition("__")[2] for c in columns if "__" in c}
    wanted = {f["name"] for f in statement["features"] if f["name"] in used and not f["standardised"]}
    assert wanted
    named = {item.partition(" (")[0] for b in blocks_of(full_card, "standardisation", "names") for item in b["items"]}
    assert named == wanted
    counts = cells_of(blocks_of(full_card, "standardisation", "table")[0])
    for (_, reason), row in counts.items():
        expected = sum(
            reason.replace(" ", "_") in (*f["deviations"], *f["notes"])
            for f in statement["features"]
            if f["name"] in used
        )
        assert row["Features of those offered"]["value"] == expected


def test_sign_off_is_empty(full_card: Card, full_page: str) -> None:
    block = full_page[full_page.index('<h2 id="signoff">') :]
    cells = [c for c in Page(block).cells if "data-path" not in c.attributes and c.attributes.get("scope") is None]
    assert len(cells) == len(full_card["signoff"]["rows"]) * len(full_card["signoff"]["fields"])
    assert {c.text for c in cells} == {""}
    assert "<input" not in full_page
    assert "<form" not in full_page


# --- privacy -------------------------------------------------------------------------------------------------------


def test_no_number_of_one_patient_is_on_the_card(full_run: Path, full_card: Card) -> None:
    shown = {repr(v) for part in _lists(full_card) for v in (part.values() if isinstance(part, dict) else part)
             if isinstance(v, float)}  # fmt: skip
    predictions, refits, features = (stored(full_run, n) for n in ("predictions", "instability", "features_patient"))
    columns = [predictions[c] for c in ("risk", "probability_12m", "probability_24m", "probability_36m")]
    columns += [refits[c] for c in ("prediction", "mean", "lower", "upper", "mape", "reclassified")]
    columns += [features[c] for c in features.columns if "__" in c]
    # 0 and 1 are the ends of what a probability can be.
    values = {repr(float(v)) for column in columns for v in column.dropna()} - {"0.0", "1.0"}
    assert len(values) > 1000
    assert shown.isdisjoint(values)


def test_no_patient_key_is_on_the_page(full_run: Path, full_card: Card, full_page: str) -> None:
    text = json.dumps(full_card)
    for key in set(stored(full_run, "instability")["patient_id"]) | set(
        stored(full_run, "features_patient")["patient_id"]
    ):
        assert key not in text
        assert key not in full_page


# --- nothing is empty ----------------------------------------------------------------------------------------------


def test_every_section_has_content_and_a_place_in_the_contents(full_card: Card, full_page: str) -> None:
    order = [part.ident for part in SECTIONS]
    assert [s["id"] for s in full_card["sections"]] == order
    assert re.findall(r'<h2 id="([^"]+)">', full_page) == order
    bodies = re.split(r"<h2 ", full_page)[1:]
    for name, body in zip(order, bodies, strict=True):
        assert f'href="#{name}"' in full_page
        content = re.sub(r"^.*?</h2>|<p class=\"lead\">.*?</p>", "", body, flags=re.DOTALL)
        assert re.search(r"<(table|figure|p|ul|dl|div|section)\b", content), name
        assert ("not available:</strong>" in content) == (name == "external"), name


def test_tables_are_named_with_their_hashes(full_run: Path, full_card: Card) -> None:
    hashes = full_card["technical"]["tables"]
    assert set(hashes) >= {"metrics.parquet", "subgroups.parquet", "ibsi_statement.json"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in hashes.values())


# --- what others ask of a card -------------------------------------------------------------------------------------


def test_every_source_attribute_names_a_section_or_a_person(full_card: Card) -> None:
    cells = cells_of(blocks_of(full_card, "attributes", "table")[0])
    assert len(cells) == 31 + 20
    shorts = {s["short"] for s in full_card["sections"]}
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
    assert f"speak of {count} of 31 source attributes" in blocks_of(full_card, "attributes", "text")[0]["text"]
