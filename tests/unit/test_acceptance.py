"""Acceptance: each criterion against the table it reads, failing for every reason that there is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from run_folder import edit_run, experiment, make_run_folder

from radiomics_crlm.config import ExperimentConfig, parse_config
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.provenance.tables import read_table, write_table
from radiomics_crlm.study.acceptance import accept_study

LEAK = [{"column": "margin_positive", "available_at": "postoperative", "speaks_at": "preoperative"}]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_folder(tmp_path_factory.mktemp("run"), n=150, endpoints=("recurrence",))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def declared(run: Path, **criteria: Any) -> Path:
    edit_run(run, experiment=experiment(endpoints=("recurrence",), acceptance={"recurrence": criteria}))
    return run


def metric(run: Path, name: str, key: str, model: str = "combined/ridge") -> float:
    rows = read_table(run / "tables" / "metrics.parquet", "metrics").set_index(["endpoint", "model", "metric"])
    return float(rows.loc[("recurrence", model, name), key])


def set_lower(run: Path, other: str, lower: float) -> None:
    """Give the difference of the delivered model to another the limits ``lower`` and 0.2."""
    path = run / "tables" / "comparisons.parquet"
    table = read_table(path, "comparisons")
    pair = {"combined/ridge", other}
    rows = table["model"].isin(pair) & table["reference"].isin(pair)
    turned = table["reference"] == "combined/ridge"  # a row saved the other way round is read the right way
    table.loc[rows, "lower"], table.loc[rows, "upper"] = lower, 0.2
    table.loc[rows & turned, "lower"], table.loc[rows & turned, "upper"] = -0.2, -lower
    write_table(table, path, "comparisons")


def test_accepted_if_every_criterion_holds(run: Path) -> None:
    c, lower, slope = (metric(run, "c_index", "estimate"), metric(run, "c_index", "lower"),
                       metric(run, "calibration_slope", "estimate"))  # fmt: skip
    limits = (slope - 0.1, slope + 0.1)
    set_lower(run, "fong_crs", 0.02)
    judged = accept_study(
        declared(run, minimum_estimate=c, minimum_lower=lower, better_than="fong_crs", calibration_slope=limits)
    )["recurrence"]
    assert judged["reason"] == "all criteria hold"
    assert judged["accepted"]
    assert [(c["criterion"], c["passed"]) for c in judged["criteria"]] == [
        ("delivered", True),
        ("c_index", True),
        ("c_index, lower limit", True),
        ("difference to fong_crs, lower limit", True),
        ("calibration slope", True),
        ("leak", True),
    ]
    values = {c["criterion"]: c["value"] for c in judged["criteria"]}
    assert values["c_index"] == pytest.approx(c, abs=1e-6)
    assert values["c_index, lower limit"] == pytest.approx(lower, abs=1e-6)
    assert json.loads((run / "acceptance.json").read_text()) == {"recurrence": judged}


@pytest.mark.parametrize(
    ("criteria", "failed", "required"),
    [
        ({"minimum_estimate": 0.99}, "c_index", "at least 0.99"),
        ({"minimum_lower": 0.95}, "c_index, lower limit", "at least 0.95"),
        ({"metric": "c_index_uno", "minimum_estimate": 0.99}, "c_index_uno", "at least 0.99"),
        ({"metric": "auc", "minimum_estimate": 0.1}, "auc", "at least 0.1"),  # no such metric here
        ({"better_than": "unheard_of"}, "difference to unheard_of, lower limit", "above 0"),
        ({"calibration_slope": (4.0, 5.0)}, "calibration slope", "4 to 5"),
    ],
)
def test_each_criterion_can_fail_alone(run: Path, criteria: dict[str, Any], failed: str, required: str) -> None:
    judged = accept_study(declared(run, **criteria))["recurrence"]
    assert not judged["accepted"]
    assert [c["criterion"] for c in judged["criteria"] if not c["passed"]] == [failed]
    assert judged["reason"].startswith(f"{failed}: ")
    assert judged["reason"].endswith(f"required {required}")


@pytest.mark.parametrize(("lower", "passed"), [(-0.01, False), (0.0, False), (0.001, True)])
def test_better_means_an_interval_above_zero(run: Path, lower: float, passed: bool) -> None:
    set_lower(run, "combined/xgboost", lower)
    judged = accept_study(declared(run, better_than="combined/xgboost"))["recurrence"]
    assert judged["accepted"] is passed


def test_a_leak_is_never_accepted_unless_declared_irrelevant(run: Path) -> None:
    declared(run, minimum_estimate=0.1)
    edit_run(run, leak={"allowed": True, "refused": {}, "admitted": {"recurrence": LEAK}})
    assert accept_study(run)["recurrence"]["reason"].startswith("leak: 1 columns")
    declared(run, minimum_estimate=0.1, no_leak=False)
    assert accept_study(run)["recurrence"]["accepted"]


def test_nothing_is_accepted_without_a_bundle(run: Path) -> None:
    edit_run(declared(run, minimum_estimate=0.1), delivered={})
    assert accept_study(run)["recurrence"]["reason"] == "delivered: no bundle, required a bundle"


def test_without_declared_criteria_nothing_is_judged(made: Path) -> None:
    assert accept_study(made) == {}


@pytest.mark.parametrize(
    ("acceptance", "message"),
    [
        ({"recurrence": {}}, "needs a minimum, better_than or calibration_slope"),
        ({"recurrence": {"no_leak": True}}, "needs a minimum"),
        ({"recurrence": {"metric": "auc", "better_than": "fong_crs"}}, "a metric of acceptance needs"),
        ({"recurrence": {"calibration_slope": [1.2, 0.8]}}, "limits of calibration_slope must rise"),
        ({"recurrence": {"minimum_estimate": 2}}, "less than or equal to 1"),
        ({"recurrence": {"minimum": 0.6}}, "Extra inputs are not permitted"),
        ({"os": {"minimum_estimate": 0.6}}, "acceptance names os, for which nothing is delivered"),
    ],
)
def test_unusable_criteria_are_refused(acceptance: dict[str, Any], message: str) -> None:
    content = experiment(endpoints=("recurrence",)) | {"acceptance": acceptance}
    with pytest.raises(ConfigError, match=message):
        parse_config(ExperimentConfig, content, where="experiment")
