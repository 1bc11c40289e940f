"""`crlm part`: a study in stages comes out the same to the byte, and foreign parts are refused or of no use."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from small_experiment import SMALL, write_experiment
from test_designs import BASE, DESIGN, charts
from test_run_resume import files, same

from radiomics_crlm.cli.app import run
from radiomics_crlm.features import scan_tasks
from radiomics_crlm.study import cross_validation, prepare

LEFT_OUT = 4
"""Exit code: some simulated patients have no resection, and so no recurrence."""
EXPERIMENT = {
    **SMALL,
    "name": "staged",
    "cohort": {"kind": "simulated", "settings": {"patients": 30, "unresectable_fraction": 0, "mr_fraction": 0}},
    "endpoints": ["recurrence"],
    "learners": ["ridge"],
    "deliver": {"recurrence": "clinical/ridge"},
    "answer": None,
    "design": {**SMALL["design"], "refits": 0},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment, its whole run, and its parts."""
    root = tmp_path_factory.mktemp("staged")
    experiment = str(write_experiment(root / "experiment.yaml", **EXPERIMENT))
    assert run(["run", experiment, "--out", str(root / "whole"), "--jobs", "1"]) == LEFT_OUT
    assert run(["part", experiment, "--out", str(root / "cohort"), "--jobs", "1"]) == 0
    for name in ("clinical", "radiomics", "combined"):
        given = ["--model", f"recurrence/{name}/ridge", "--part", str(root / "cohort"), "--jobs", "1"]
        assert run(["part", experiment, "--out", str(root / name), *given]) == 0
    return root


def parts(study: Path, *names: str) -> list[str]:
    return [word for name in names for word in ("--part", str(study / name))]


def test_models_of_charts_in_stages_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    charts(120, 0, "A").to_csv(tmp_path / "data" / "clinical.csv", index=False)
    design = {**DESIGN, "outer_folds": 3, "repeats": 2}
    content = {**BASE, "learners": ["ridge"], "design": design, "deliver": {"recurrence": "clinical/ridge"}}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    given = [str(tmp_path / "experiment.yaml"), "--data", str(tmp_path / "data"), "--jobs", "1", "--out"]
    assert run(["run", *given, str(tmp_path / "whole")]) == 0
    parts = []
    for endpoint in content["endpoints"]:
        parts += ["--part", str(tmp_path / endpoint)]
        assert run(["part", *given, parts[-1], "--model", f"{endpoint}/clinical/ridge"]) == 0
    monkeypatch.setattr(cross_validation, "fit_folds", _never)
    assert run(["run", *given, str(tmp_path / "staged"), *parts]) == 0
    same(tmp_path / "staged", tmp_path / "whole")


@pytest.mark.slow
def test_a_study_in_stages_is_the_same(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (prepare, "simulate_cohort"),
        (scan_tasks, "_region"),
        (cross_validation, "fit_folds"),
    ):
        monkeypatch.setattr(module, name, _never)
    before = files(study / "cohort")
    given = parts(study, "cohort", "clinical", "radiomics", "combined")
    assert (
        run(["run", str(study / "experiment.yaml"), "--out", str(study / "staged"), "--jobs", "1", *given]) == LEFT_OUT
    )
    assert files(study / "cohort") == before
    shutil.copytree(study / "whole" / "cohort", study / "staged" / "cohort")
    same(study / "staged", study / "whole")


@pytest.mark.slow
def test_parts_save_nothing_but_time(study: Path, tmp_path: Path) -> None:
    """A part of other outcomes or settings is not believed: the run differs from that without it in nothing."""
    changed = {**EXPERIMENT, "design": {**EXPERIMENT["design"], "seed": 6}}
    experiment = str(write_experiment(tmp_path / "experiment.yaml", **changed))
    assert run(["run", experiment, "--out", str(tmp_path / "alone"), "--jobs", "1"]) == LEFT_OUT
    given = parts(study, "cohort", "clinical", "combined")
    assert run(["run", experiment, "--out", str(tmp_path / "staged"), "--jobs", "1", *given]) == LEFT_OUT
    shutil.rmtree(tmp_path / "alone" / "cohort")
    same(tmp_path / "staged", tmp_path / "alone")


@pytest.mark.slow
def test_what_is_no_part_is_refused(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment, out = str(study / "experiment.yaml"), str(tmp_path / "out")
    other = {**EXPERIMENT, "cohort": {"kind": "simulated", "settings": {"patients": 31}}}
    foreign = str(write_experiment(tmp_path / "other.yaml", **other))
    shutil.copytree(study / "cohort", tmp_path / "again")
    cases = [
        (["run", experiment, "--out", out, "--part", str(tmp_path)], 3, "the folder holds no part of a study"),
        (["run", foreign, "--out", out, *parts(study, "cohort")], 3, "the simulated cohort of another experiment"),
        (
            ["run", experiment, "--out", out, *parts(study, "cohort"), "--part", str(tmp_path / "again")],
            3,
            "several folders",
        ),
        (
            ["part", experiment, "--out", out, "--model", "recurrence/clinical/ridge"],
            2,
            "the simulated cohort is not among",
        ),
        (["part", experiment, "--out", out, "--model", "recurrence/clinical"], 2, "no such model"),
        (["part", experiment, "--out", str(study / "cohort")], 3, "the out folder is not empty"),
    ]
    for arguments, code, message in cases:
        assert run(arguments) == code
        assert message in capsys.readouterr().err
        assert not Path(out).exists()


def _never(*_: object, **__: object) -> None:
    pytest.fail("done again")
