"""The card: every number traceable to a table, nothing of a single patient, nothing hidden when a part is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_folder import ENDPOINTS, edit_run, make_run_folder

from radiomics_crlm.evaluation.incidence import aalen_johansen, kaplan_meier
from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.report import build_card, render_card, write_card
from radiomics_crlm.report.contents import SECTIONS
from radiomics_crlm.report.wording import fixed, interval

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_folder(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def card(run: Path) -> dict[str, Any]:
    return build_card(run)


@pytest.fixture(scope="module")
def page(card: dict[str, Any]) -> str:
    return render_card(card)


class _Page(HTMLParser):
    """Text of table cells, headings, ids and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._cell: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if "id" in dict(attrs):
            self.ids.append(str(dict(attrs)["id"]))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._cell = []
        elif re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.rows[-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)


def _table(run: Path, name: str) -> pd.DataFrame:
    return read_table(run / "tables" / f"{name}.parquet", name)


def _ranked(run: Path) -> pd.DataFrame:
    """Differences in the statistic of the endpoint: those that the card lists."""
    saved = _table(run, "comparisons")
    return saved[saved["metric"].isin(["c_index", "auc"])]


def _rewrite(run: Path, name: str, table: pd.DataFrame) -> None:
    write_table(table, run / "tables" / f"{name}.parquet", name)


# --- numbers -----------------------------------------------------------------------------------------------------


def test_every_metric_stands_on_the_page_as_the_table_has_it(run: Path, card: dict[str, Any], page: str) -> None:
    metrics = _table(run, "metrics").set_index(["endpoint", "model", "metric"])
    rows = _Page(page).rows
    seen = 0
    for part in card["performance"]:
        for table in part["tables"]:
            for row in table["rows"]:
                for column, cell in zip(table["columns"], row["cells"], strict=True):
                    if cell.get("absent"):
                        continue
                    key = (part["endpoint"], row["model"], column["metric"])
                    saved = metrics.loc[[key]]
                    assert len(saved) == 1
                    source = saved.iloc[0]
                    decimals = 3 if column["metric"].startswith("brier") else 2
                    expected = (
                        f"{source['estimate']:.{decimals}f} ({source['lower']:.{decimals}f} to "
                        f"{source['upper']:.{decimals}f})"
                    ).replace("-", MINUS)
                    expected = re.sub(rf"{MINUS}(0\.0+)(?=\D)", r"\1", expected)
                    assert cell["text"] == expected
                    assert cell["estimate"] == source["estimate"]
                    # Other numbers of patients or events than those of the row stand beside the value.
                    assert any(
                        row["title"] in cells[0] and any(c.startswith(expected) for c in cells) for cells in rows
                    )
                    seen += 1
    assert seen == len(metrics)


def test_n_and_events_of_each_row_are_those_of_the_table(run: Path, card: dict[str, Any]) -> None:
    metrics = _table(run, "metrics").set_index(["endpoint", "model", "metric"])
    for part in card["performance"]:
        for table in part["tables"]:
            for row in table["rows"]:
                leading = next(c for c, x in zip(table["columns"], row["cells"], strict=True) if "n" in x)
                source = metrics.loc[(part["endpoint"], row["model"], leading["metric"])]
                assert (row["n"], row["events"]) == (source["n"], source["events"])


def test_every_difference_is_listed_once(run: Path, card: dict[str, Any]) -> None:
    saved = _ranked(run)
    listed = {
        (p["endpoint"], r["model"], r["reference"]): r["text"]
        for p in card["performance"]
        for r in p["differences"]["rows"]
    }
    assert len(listed) == len(saved)
    for _, row in saved.iterrows():
        expected = interval(row["difference"], row["lower"], row["upper"], 3, signed=True)
        assert listed[row["endpoint"], row["model"], row["reference"]] == expected


def test_figure_of_differences_speaks_for_the_model_of_the_verdict(run: Path, card: dict[str, Any]) -> None:
    saved = _ranked(run).query("endpoint == 'os'", engine="python").set_index(["model", "reference"])
    rows = {row["title"]: row for row in next(p for p in card["performance"] if p["endpoint"] == "os")["against"]}
    assert len(rows) == 5
    assert (
        rows["Clinical (penalised regression)"]["estimate"] == saved["difference"]["combined/ridge", "clinical/ridge"]
    )
    turned = rows["Combined (boosted trees)"]
    source = saved.loc[("combined/xgboost", "combined/ridge")]
    assert (turned["estimate"], turned["lower"]) == (-source["difference"], -source["upper"])


def test_observed_course_equals_the_estimator_on_the_same_patients(run: Path, card: dict[str, Any]) -> None:
    outcomes, predictions = _table(run, "outcomes"), _table(run, "predictions")
    for part in card["courses"]:
        rows = predictions.query(
            "endpoint == @part['endpoint'] and model == @part['model'] and repeat == 0", engine="python"
        ).copy()
        rows["rank"] = rows.groupby("fold")["risk"].rank()
        rows["size"] = rows.groupby("fold")["risk"].transform("size")
        lowest = rows.loc[rows["rank"] <= rows["size"] / 3 + 0.5, "patient_id"]
        own = outcomes[(outcomes["endpoint"] == part["endpoint"]) & outcomes["patient_id"].isin(lowest)]
        estimator = kaplan_meier if part["kind"] == "survival" else aalen_johansen
        curve = estimator(own["event"].to_numpy(dtype=int), own["months"].to_numpy(dtype=float))
        group = part["groups"][0]
        assert group["n"] == len(own)
        np.testing.assert_allclose(group["value"], curve.at(group["months"]), atol=5e-5)
    assert {p["endpoint"]: p["kind"] for p in card["courses"]} == {
        "recurrence": "incidence",
        "os": "survival",
        "recurrence_24m": "incidence",
    }


def test_calibration_predicted_means_are_those_of_the_predictions(run: Path, card: dict[str, Any]) -> None:
    for part in card["calibration"]:
        rows = _table(run, "predictions").query(
            "endpoint == @part['endpoint'] and model == @part['model']", engine="python"
        )
        overall = rows[f"probability_{part['horizon']}m"].mean()
        weighted = sum(g["n"] * g["predicted"] for g in part["groups"]) / sum(g["n"] for g in part["groups"])
        assert weighted == pytest.approx(overall, abs=1e-4)
        assert sum(part["histogram"]["counts"]) == part["n"] == rows["patient_id"].nunique()


def test_mean_shap_is_that_of_the_table_and_dots_are_patients(run: Path, card: dict[str, Any]) -> None:
    saved = _table(run, "attributions")
    for part in card["explanations"]:
        if "absent" in part:
            assert part["endpoint"] == "recurrence_24m"
            continue
        own = saved[saved["endpoint"] == part["endpoint"]]
        strength = own["attribution"].abs().groupby(own["feature"]).mean().sort_values(ascending=False)
        assert [f["feature"] for f in part["features"]] == strength.index[:15].tolist()
        for feature in part["features"]:
            assert feature["mean_text"] == fixed(strength[feature["feature"]], 3)
            assert sum(n for _, counts in feature["dots"] for n in counts.values()) == part["n"]


def test_shap_dots_stand_for_several_patients_in_large_cohorts(fresh: Callable[..., Path]) -> None:
    run = fresh()
    one = _table(run, "attributions")
    many = pd.concat([one.assign(patient_id=one["patient_id"] + f"-{k}") for k in range(12)])
    _rewrite(run, "attributions", many)
    part = build_card(run)["explanations"][0]
    assert (part["n"], part["per_dot"]) == (12 * 60, 3)
    dots = [sum(n for _, counts in f["dots"] for n in counts.values()) for f in part["features"]]
    assert max(dots) < part["n"] / 2


def test_flow_adds_up(card: dict[str, Any]) -> None:
    for stage in (card["flow"]["cohort"], *card["flow"]["endpoints"]):
        assert stage["adds_up"]
        assert stage["in"] == stage["out"] + sum(e["n"] for e in stage["excluded"])
    binary = card["flow"]["endpoints"][2]
    assert binary["out"] == binary["events"] + binary["competing"] + binary["censored"] + binary["free"]
    assert binary["free"] > 0


def test_flow_that_does_not_add_up_is_said_at_the_top(
    fresh: Callable[..., Path], text_of: Callable[[dict[str, Any]], str]
) -> None:
    run = fresh()
    flow = json.loads((run / "run.json").read_text())["flow"]
    flow["endpoints"]["os"]["out"] -= 1
    edit_run(run, flow=flow)
    card = build_card(run)
    assert [n["kind"] for n in card["notices"]] == ["flow"]
    assert "does not add up" in text_of(card)


# --- verdicts ----------------------------------------------------------------------------------------------------


def test_model_and_score_are_quoted_on_the_same_patients(run: Path, card: dict[str, Any]) -> None:
    own = _table(run, "metrics").query("endpoint == 'os' and model == 'fong_crs' and metric == 'c_index'").iloc[0]
    found = _table(run, "comparisons").query(
        "endpoint == 'os' and model == 'combined/ridge' and reference == 'fong_crs'"
    )
    line = next(v for v in card["verdicts"] if v["endpoint"] == "os")["lines"][0]
    assert own["n"] == found["n"].iloc[0] < 180
    assert f"In the {own['n']} of 180 patients in whom the score can be assessed" in line["numbers"]
    assert f"model {own['estimate'] + found['difference'].iloc[0]:.2f}, Fong" in line["numbers"]


# --- notices -----------------------------------------------------------------------------------------------------


def test_no_notice_without_a_reason(card: dict[str, Any], page: str) -> None:
    assert card["notices"] == []
    assert 'role="alert"' not in page


def test_guard_that_only_refused_raises_no_alarm(card: dict[str, Any], page: str) -> None:
    refused = card["leak"]["refused"]
    assert [r["column"] for r in refused] == ["margin_positive"]
    assert refused[0]["endpoints"] == list(ENDPOINTS)
    assert "leak-warning" not in page.partition("</style>")[2]


# --- privacy -----------------------------------------------------------------------------------------------------


def test_no_patient_key_and_no_path_on_page_or_in_json(run: Path, card: dict[str, Any], page: str) -> None:
    keys = set(_table(run, "folds")["patient_id"]) | set(_table(run, "exclusions")["patient_id"])
    text = json.dumps(card, ensure_ascii=False)
    for content in (text, page):
        assert not [k for k in keys if k in content]
        assert "secret" not in content
        assert str(run) not in content
        assert "/srv" not in content
    assert "[patient]: a value is out of range" in text
    assert not re.search(r"\d{4}-\d{2}-\d{2}", text)


def test_no_risk_probability_time_or_input_of_a_patient_is_on_the_card(run: Path, card: dict[str, Any]) -> None:
    def numbers(part: Any) -> set[str]:
        if isinstance(part, dict):
            return set().union(*map(numbers, part.values()), *map(numbers, part))
        if isinstance(part, list):
            return set().union(*map(numbers, part))
        return {repr(part)} if isinstance(part, float) else set()

    shown = numbers(card)
    predictions, attributions = _table(run, "predictions"), _table(run, "attributions")
    values = pd.concat([predictions["risk"], predictions["probability_24m"], attributions["attribution"]]).dropna()
    assert shown.isdisjoint(set(map(repr, values.astype(float))))


def test_small_categories_are_hidden_and_cannot_be_worked_out(card: dict[str, Any]) -> None:
    rows = {r["variable"]: r["summary"] for r in card["population"]["rows"]}
    assert rows["bilobar"] == "yes <5; no not shown"
    assert rows["primary_site"] == "right_colon <5; left_colon <5; rectum 169 (97 %)"
    assert rows["age_years"] == "61.0 (53.0 to 69.5)"
    for rule in card["scores"]["cohort"]["rows"]:
        assert all(not isinstance(d["n"], int) or d["n"] == 0 or d["n"] >= 5 for d in rule["distribution"])


def test_curves_end_where_few_are_followed(card: dict[str, Any]) -> None:
    for part in card["courses"]:
        for group in part["groups"]:
            assert all(count == "<5" or count == 0 or count >= 5 for count in group["at_risk"])
            shown = dict(zip(part["ticks"], group["at_risk"], strict=True))
            assert all(isinstance(shown[m], int) for m in part["ticks"] if m <= group["months"][-1])


# --- robustness --------------------------------------------------------------------------------------------------


# --- the page ----------------------------------------------------------------------------------------------------


def test_hostile_names_are_text(fresh: Callable[..., Path]) -> None:
    hostile = "<script>alert('x')</script> $\\frac{1}$ \u0007 & \"q\" \U0001f9ea"
    run = fresh(title=hostile, question=hostile, cautions=[hostile])
    record = json.loads((run / "run.json").read_text())
    record["experiment"]["feature_sets"]["combined"]["title"] = hostile
    record["rule_scores"]["os"]["fong_crs"]["title"] = hostile
    record["population"][0]["variable"] = hostile
    edit_run(run, **record)
    attributions = _table(run, "attributions")
    first = attributions["feature"] == attributions["feature"].iloc[0]
    _rewrite(run, "attributions", attributions.assign(feature=attributions["feature"].mask(first, hostile)))
    page = render_card(build_card(run))
    assert "<script" not in page
    assert "\u0007" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_page_asks_for_nothing_and_runs_nothing(page: str) -> None:
    parsed = _Page(page)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "form", "base"})
    policy = next(a["content"] for t, a in parsed.tags if t == "meta" and a.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    targets = {str(v) for _, a in parsed.tags for k, v in a.items() if k in ("href", "src", "xlink:href")}
    assert targets
    beside = {"checklists.html", "checklists.csv", "checklists.md"}
    assert {t[0] for t in targets - beside} == {"#"}
    assert {t[1:] for t in targets - beside} <= set(parsed.ids)
    assert not [(t, a) for t, a in parsed.tags if any(k.startswith("on") for k in a)]
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)


def test_page_is_accessible(page: str) -> None:
    parsed = _Page(page)
    assert ("html", {"lang": "en"}) in parsed.tags
    assert parsed.headings[0] == 1
    assert parsed.headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(parsed.headings, parsed.headings[1:], strict=False))
    assert len(parsed.ids) == len(set(parsed.ids))
    assert all("scope" in a for t, a in parsed.tags if t == "th")
    tags = [t for t, _ in parsed.tags]
    assert tags.count("table") == tags.count("caption") > 10
    for _, attributes in (x for x in parsed.tags if x[0] == "svg"):
        assert attributes["role"] == "img"
        assert set(str(attributes["aria-labelledby"]).split()) <= set(parsed.ids)


def test_page_has_every_section_and_the_sentence(page: str) -> None:
    assert "For research; a multidisciplinary team decides." in page
    positions = [page.index(f'<h2 id="{section.ident}">') for section in SECTIONS]
    assert positions == sorted(positions)


def test_same_artefacts_give_the_same_bytes(fresh: Callable[..., Path]) -> None:
    run = fresh()
    written = write_card(run)
    assert written == run / "card.html"
    saved = json.loads((run / "card.json").read_text(encoding="utf-8"))
    assert saved == build_card(run)
    assert render_card(saved) == written.read_text(encoding="utf-8")
    assert sorted(p.name for p in run.iterdir()) == [
        "card.html", "card.json", "checklists.csv", "checklists.html", "checklists.json", "checklists.md", "figures",
        "run.json", "tables",
    ]  # fmt: skip
