"""The experiments that ship: each loads and passes the checks without data; each report is complete and impersonal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from radiomics_crlm.config import ExperimentConfig, load_config, parse_config
from radiomics_crlm.phantom.settings import SimulationConfig
from radiomics_crlm.resources import resource
from radiomics_crlm.study.run import check_experiment

FOLDER = resource("experiments")
FILES = sorted(FOLDER.glob("*.yaml"))
REPORTS = sorted(FOLDER.glob("*/README.md"))
EXPECTED = {"demo", "simulated_conversion", "simulated_recurrence", "simulated_recurrence_null", "tcia_crlm_clinical",
            "tcia_crlm_radiomics"}  # fmt: skip


def test_the_named_experiments_are_there() -> None:
    assert {path.stem for path in FILES} >= EXPECTED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_can_be_run(path: Path) -> None:
    experiment = load_config(ExperimentConfig, path)
    assert experiment.name == path.stem
    check_experiment(experiment)
    if experiment.cohort.kind == "simulated":
        parse_config(SimulationConfig, experiment.cohort.settings, where=path.name)


def test_the_null_study_differs_in_the_effect_alone() -> None:
    on, off = (load_config(ExperimentConfig, FOLDER / f"simulated_recurrence{end}.yaml") for end in ("", "_null"))
    same = {"title": "", "question": "", "name": "same", "cautions": (), "cohort": on.cohort}
    assert on.model_copy(update=same) == off.model_copy(update=same)
    assert on.cohort.settings == off.cohort.settings | {"texture_effect": 1.7}
    assert off.cohort.settings["texture_effect"] == 0


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.parent.name)
def test_each_report_is_complete_and_impersonal(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    figures = set(re.findall(r"\]\((figures/[^)]+\.svg)\)", page))
    assert figures == {f"figures/{p.name}" for p in (path.parent / "figures").glob("*.svg")}
    texts = page + "".join((path.parent / name).read_text(encoding="utf-8") for name in figures)
    assert not re.search(r"CRLM-CT-\d|SIM-\d{4}", texts)
    assert not re.search(r"/(?:home|root|work|tmp|srv)/", texts)
    assert re.search(r"```sh\ncrlm (?:run|anchor) ", page)
    assert f"experiments/{path.parent.name}" in page
    notes = path.parent / "notes.md"
    if notes.is_file():
        assert notes.read_text(encoding="utf-8").strip("\n") in page
