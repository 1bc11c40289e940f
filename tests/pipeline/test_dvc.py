"""The pipeline of dvc.yaml names every model of every simulated experiment, and redoes only what a change touches."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_run_resume import files

from radiomics_crlm.cli.app import run
from radiomics_crlm.config import ExperimentConfig, load_config

ROOT = Path(__file__).parents[2]
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
SIMULATED = sorted(PIPELINE["study"]["foreach"])
MATRICES = [stage["matrix"] for stage in PIPELINE.values() if "matrix" in stage]


def test_every_simulated_experiment_has_its_stages() -> None:
    shipped = [path for path in (ROOT / "experiments").glob("*.yaml") if path.stem != "demo"]
    kinds = {path.stem: load_config(ExperimentConfig, path).cohort.kind for path in shipped}
    assert sorted(name for name, kind in kinds.items() if kind == "simulated") == SIMULATED
    assert sorted(PIPELINE["cohort"]["foreach"]) == SIMULATED
    assert sorted(name for matrix in MATRICES for name in matrix["experiment"]) == SIMULATED


@pytest.mark.parametrize("name", SIMULATED)
def test_every_model_of_an_experiment_is_a_stage(name: str) -> None:
    experiment = load_config(ExperimentConfig, ROOT / "experiments" / f"{name}.yaml")
    matrix = next(matrix for matrix in MATRICES if name in matrix["experiment"])
    stages = set(itertools.product(matrix["endpoint"], matrix["feature_set"], matrix["learner"]))
    assert stages == set(itertools.product(experiment.endpoints, experiment.feature_sets, experiment.learners))
    assert [PIPELINE["study"]["foreach"][name]["endpoint"]] == list(experiment.endpoints)


class Repository:
    """A small repository with one experiment of the pipeline, and DVC in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        bin_ = folder / "bin"
        bin_.mkdir(parents=True)
        crlm = bin_ / "crlm"
        code = "from radiomics_crlm.cli import main; main()"
        crlm.write_text(f"#!/bin/sh\nexec {sys.executable} -P -c '{code}' \"$@\"\n", encoding="utf-8")
        crlm.chmod(0o755)
        self._environment = {
            **os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(folder)
        }  # fmt: skip
        self.experiment = folder / "experiments" / "simulated_recurrence.yaml"
        self.experiment.parent.mkdir()
        shutil.copytree(ROOT / "configs", folder / "configs")
        shutil.copytree(ROOT / "radiomics_crlm", folder / "radiomics_crlm")
        shutil.copy(ROOT / "dvc.yaml", folder)
        self._run("git", "init", "-q")
        self.dvc("init", "-q")
        self.dvc("config", "core.analytics", "false")

    def dvc(self, *arguments: str) -> str:
        return self._run(sys.executable, "-m", "dvc", *arguments)

    def todo(self) -> set[str]:
        """Stages that would run."""
        said = self.dvc("repro", "--dry", "study@simulated_recurrence")
        return set(re.findall(r"Running stage '([^']+)'", said))

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.mark.slow
def test_a_change_redoes_what_depends_on_it(tmp_path: Path) -> None:
    pytest.importorskip("dvc", reason="DVC is not installed")
    shipped = yaml.safe_load((ROOT / "experiments" / "simulated_recurrence.yaml").read_text(encoding="utf-8"))
    small = {
        **shipped,
        "cohort": {"kind": "simulated", "settings": {"patients": 40, "unresectable_fraction": 0, "mr_fraction": 0}},
        "design": {**shipped["design"], "repeats": 1, "inner_folds": 3},
        "answer": {**shipped["answer"], "permutations": 0},
    }
    repository = Repository(tmp_path / "repository")
    repository.experiment.write_text(yaml.safe_dump(small), encoding="utf-8")
    repository.dvc("repro", "study@simulated_recurrence")
    report = repository.experiment.with_suffix("")

    alone = tmp_path / "alone"
    assert run(["run", str(repository.experiment), "--out", str(alone), "--jobs", "1"]) in (0, 4)
    assert run(["report", str(alone), "--to", str(tmp_path / "report")]) == 0
    assert files(report) == files(tmp_path / "report")
    metrics = "experiments/simulated_recurrence/metrics.json"
    said = repository.dvc("metrics", "show", "--json", metrics)
    shown = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    kept = shown[""]["data"][metrics]["data"]
    assert kept == json.loads((report / "metrics.json").read_text(encoding="utf-8"))

    assert repository.todo() == set()
    study, model = "study@simulated_recurrence", "recurrence@simulated_recurrence-recurrence-{}-{}"
    changes: list[tuple[dict[str, Any], set[str]]] = [
        ({"cautions": ["Another caution."]}, {study}),
        (
            {"feature_sets": {**small["feature_sets"], "clinical": {"title": "Age", "columns": ["age_years"]}}},
            {study, *(model.format("clinical", learner) for learner in small["learners"])},
        ),
        (
            {"design": {**small["design"], "seed": 7}},
            {study, *(model.format(s, learner) for s in small["feature_sets"] for learner in small["learners"])},
        ),
    ]
    for change, expected in changes:
        repository.experiment.write_text(yaml.safe_dump({**small, **change}), encoding="utf-8")
        assert repository.todo() == expected
