"""The benchmark anchor: published AUCs, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from radiomics_crlm.cli.app import app
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.modelling.anchor import Configuration, pooled_auc, protocol_folds
from radiomics_crlm.study.anchor import published_grid, read_benchmark, rerun

# 0.5771 against 0.5780, one pair of ranks apart; why was not found (no tie in F decides the selection).
NOT_REPRODUCED = {"anova64/naive_bayes"}


def silent(stage: str, done: int, total: int) -> None:
    """No progress."""


@pytest.fixture
def folder(shared_data: Path) -> Path:
    return shared_data / "radmlbench_crlm"


@pytest.mark.parametrize(
    ("configuration", "published"),
    [
        (Configuration(4, "naive_bayes"), 0.6278),
        (Configuration(16, "naive_bayes"), 0.6241),
        (Configuration(8, "logistic", 0.5), 0.6466),
    ],
)
def test_published_aucs_come_out_to_four_decimals(folder: Path, configuration: Configuration, published: float) -> None:
    result = rerun(folder / "Colorectal-Liver-Metastases.gz", [configuration], [published], progress=silent)
    assert result["agrees"].tolist() == [True]
    assert round(result.loc[0, "auc"], 4) == published


def test_the_whole_covered_grid(folder: Path) -> None:
    grid = published_grid(folder / "Colorectal-Liver-Metastases_published_grid_auc.csv")
    assert len(grid) == 56
    table = folder / "Colorectal-Liver-Metastases.gz"
    result = rerun(table, grid["configuration"].tolist(), grid["published"].tolist(), progress=silent)
    assert set(result.loc[~result["agrees"].astype(bool), "configuration"]) == NOT_REPRODUCED
    assert (result["auc"] - result["published"]).abs().max() < 0.001


def benchmark(rows: int = 60) -> pd.DataFrame:
    """A table of the format: one informative feature among six."""
    generator = np.random.default_rng(5)
    target = np.arange(rows) % 2
    features = pd.DataFrame(generator.normal(size=(rows, 6)), columns=[f"feature_{k}" for k in range(6)])
    features["feature_0"] += 1.5 * target
    return features.assign(ID=[f"P{k}" for k in range(rows)], Target=target)


def test_any_table_of_the_format_runs_with_one_command(tmp_path: Path) -> None:
    benchmark().to_csv(tmp_path / "other.csv", index=False)
    result = CliRunner().invoke(app, ["anchor", str(tmp_path / "other.csv"), "--features", "1"])
    assert result.exit_code == 0, result.output
    features, label = read_benchmark(tmp_path / "other.csv")
    value = pooled_auc(features, label, protocol_folds(label), Configuration(1, "logistic", 0.5))
    assert f"AUC {value:.4f}" in result.output
    assert value > 0.75


def test_folds_are_stratified() -> None:
    label = benchmark().set_index("ID")["Target"]
    folds = protocol_folds(label).set_index("patient_id")
    assert folds.groupby("fold").size().tolist() == [6] * 10
    assert label.groupby(folds["fold"]).sum().tolist() == [3] * 10


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="Target"), "lacks columns.*Target"),
        (lambda t: pd.concat([t, t.head(1)]), "key twice"),
        (lambda t: t.assign(feature_1="text"), "1 columns are no numbers"),
        (lambda t: t.assign(feature_1=np.where(t["Target"] == 1, np.nan, 1.0)), "30 cells are empty"),
    ],
)
def test_tables_of_another_format_are_refused(tmp_path: Path, spoil: object, message: str) -> None:
    spoil(benchmark()).to_csv(tmp_path / "table.csv", index=False)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        read_benchmark(tmp_path / "table.csv")


def test_a_target_that_is_too_rare_is_refused() -> None:
    label = pd.Series([1] * 9 + [0] * 50, index=[f"P{k}" for k in range(59)])
    with pytest.raises(InputError, match="at least 10 of each"):
        protocol_folds(label)


def test_configurations_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="features >= 1"):
        Configuration(0, "naive_bayes")
    with pytest.raises(ConfigError, match="C belongs to the logistic"):
        Configuration(4, "naive_bayes", 0.5)


def test_a_file_that_is_no_grid_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="grid lacks columns"):
        published_grid(tmp_path / "grid.csv")
