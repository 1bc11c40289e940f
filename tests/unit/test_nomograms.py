"""Nomograms as files of a run: tables, and CSV for people; of linear models that are delivered alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from simulated_tables import BLOCK_COLUMNS, draw_outcome, mixed_table

from radiomics_crlm.explanation.points import nomogram
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.study.nomograms import nomogram_tables, write_nomograms

X = mixed_table(90, 6)
Y = draw_outcome(X["x1"].to_numpy(), 6)


@dataclass(frozen=True)
class _Predictors:
    table: pd.DataFrame
    admitted: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    name: str
    predictors: _Predictors = field(default_factory=lambda: _Predictors(X))


def _final(learner: str, kind: str) -> tuple[Any, Any]:
    recipe = Recipe("all", BLOCK_COLUMNS, learner, kind, penalties=(0.3, 0.1), trees=5)  # type: ignore[arg-type]
    return _Plan(f"all/{learner}"), fit_final(X, Y, recipe, endpoint="dfs", horizon=24.0, inner_folds=2, seed=1)


@pytest.fixture(scope="module")
def delivered() -> dict[str, tuple[Any, Any]]:
    return {
        "os": _final("ridge", "time_to_event"), "early": _final("ridge", "binary"),
        "trees": _final("random_forest", "binary"),
    }  # fmt: skip


def test_files_of_a_run(delivered: dict[str, tuple[Any, Any]], tmp_path: Path) -> None:
    write_nomograms(delivered, tmp_path)
    points = read_table(tmp_path / "tables" / "nomogram_points.parquet", "nomogram_points")
    totals = read_table(tmp_path / "tables" / "nomogram_totals.parquet", "nomogram_totals")
    assert set(points["endpoint"]) == set(totals["endpoint"]) == {"os", "early"}
    plan, pipeline = delivered["os"]
    expected = nomogram(freeze(pipeline), X, endpoint="os", name=plan.name, months=(12.0, 24.0, 36.0))
    assert points.loc[points["endpoint"] == "os", "points"].tolist() == expected.points["points"].tolist()
    assert set(totals.loc[totals["endpoint"] == "early", "months"]) == {24.0}
    names = {path.name for path in (tmp_path / "nomograms").iterdir()}
    assert names == {f"{e}_{n}.csv" for e in ("os", "early") for n in ("points", "probabilities")}
    sheet = pd.read_csv(tmp_path / "nomograms" / "os_points.csv")
    assert sheet["points"].tolist() == expected.points["points"].tolist()
    read = pd.read_csv(tmp_path / "nomograms" / "os_probabilities.csv")
    assert list(read.columns) == ["total", "probability_12m", "probability_24m", "probability_36m"]
    assert read["probability_12m"].tolist() == pytest.approx(
        expected.totals.loc[expected.totals["months"] == 12.0, "probability"].tolist(), abs=1e-5
    )


def test_models_that_leak_or_are_not_linear_have_none(delivered: dict[str, tuple[Any, Any]], tmp_path: Path) -> None:
    plan, pipeline = delivered["os"]
    leaked = _Plan(plan.name, _Predictors(X, ("margin_positive",)))
    assert nomogram_tables({"os": (leaked, pipeline), "trees": delivered["trees"]}) == {}  # type: ignore[dict-item]
    write_nomograms({"trees": delivered["trees"]}, tmp_path)
    assert list(tmp_path.iterdir()) == []
