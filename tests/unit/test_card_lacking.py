"""A card of a run that lacks something: tables, parts of the record, numbers, definitions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_folder import edit_run
from test_card import _rewrite, _table

from radiomics_crlm.errors import InputError
from radiomics_crlm.report import build_card, render_card


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("metrics", "Performance table not available:"),
        ("comparisons", "Paired differences not available:"),
        ("predictions", "Curves not available:"),
        ("outcomes", "Curves not available:"),
        ("attributions", "Explanation not available:"),
        ("rules", "Distribution of the scores not available:"),
        ("exclusions", "Table exclusions not available:"),
        ("folds", "Table folds not available:"),
    ],
)
def test_absent_table_is_said_and_hides_nothing(
    fresh: Callable[..., Path], table: str, words: str, text_of: Callable[[dict[str, Any]], str]
) -> None:
    run = fresh()
    (run / "tables" / f"{table}.parquet").unlink()
    page = text_of(build_card(run))
    assert words in page
    assert f"Table {table} not available:" in page


def test_table_that_is_no_table_is_said(fresh: Callable[..., Path]) -> None:
    run = fresh()
    (run / "tables" / "metrics.parquet").write_bytes(b"PAR1 nothing")
    assert "cannot be read" in build_card(run)["technical"]["tables_absent"]["metrics"]


@pytest.mark.parametrize(
    "part",
    ["flow", "leak", "models", "rule_scores", "population", "delivered", "versions", "engine", "hashes", "cohort"],
)
def test_absent_part_of_the_record_still_gives_a_page(
    fresh: Callable[..., Path], part: str, text_of: Callable[[dict[str, Any]], str]
) -> None:
    run = fresh()
    record = json.loads((run / "run.json").read_text())
    del record[part]
    (run / "run.json").write_text(json.dumps(record))
    page = text_of(build_card(run))
    assert "not available:" in page or part in ("engine", "cohort", "delivered")


def test_everything_but_the_record_may_be_missing(
    fresh: Callable[..., Path], text_of: Callable[[dict[str, Any]], str]
) -> None:
    run = fresh()
    for table in (run / "tables").iterdir():
        table.unlink()
    card = build_card(run)
    assert all("absent" in v for v in card["verdicts"])
    assert "Verdict not available:" in text_of(card)


def test_metric_that_could_not_be_computed_is_said(
    fresh: Callable[..., Path], text_of: Callable[[dict[str, Any]], str]
) -> None:
    run = fresh()
    table = _table(run, "metrics")
    chosen = (table["endpoint"] == "os") & (table["model"] == "combined/ridge")
    table.loc[chosen, ["estimate", "lower", "upper"]] = np.nan
    table.loc[chosen, "method"] = "not_computable"
    _rewrite(run, "metrics", table)
    card = build_card(run)
    verdict = next(v for v in card["verdicts"] if v["endpoint"] == "os")
    assert verdict["absent"] == "C of the model: it could not be computed"
    assert "not computable" in text_of(card)


def test_missing_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the record of the run is missing"):
        build_card(tmp_path)


def test_endpoint_without_definition_is_refused(fresh: Callable[..., Path]) -> None:
    run = fresh()
    edit_run(run, endpoints={})
    with pytest.raises(InputError, match="does not define its endpoints; got os"):
        build_card(run)


def test_endpoint_without_time_column_has_a_table_but_no_curve(fresh: Callable[..., Path]) -> None:
    run = fresh(endpoints=("recurrence_24m",))
    record = json.loads((run / "run.json").read_text())
    record["endpoints"]["recurrence_24m"] |= {"months": None, "competing": None}
    edit_run(run, endpoints=record["endpoints"])
    outcomes = _table(run, "outcomes")
    chosen = outcomes["endpoint"] == "recurrence_24m"
    outcomes.loc[chosen, "months"] = 24.0
    outcomes.loc[chosen & (outcomes["event"] == 2), "event"] = 0
    _rewrite(run, "outcomes", outcomes)
    card = build_card(run)
    part = card["courses"][0]
    assert not part["timed"]
    own = outcomes[chosen]
    share = own["event"].mean()
    observed = sum(g["n"] * g["value"][-1] for g in part["groups"]) / len(own)
    assert observed == pytest.approx(share, abs=1e-3)
    assert "course0-title" not in render_card(card)
