"""The pipelines of DVC name every model of every experiment, redo only what a change touches, and the committed numbers
are those of the reports.
"""

from __future__ import annotations

import configparser
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
from radiomics_crlm.config import ExperimentConfig, load_config, load_endpoints
from radiomics_crlm.report.performance import primary_metric
from radiomics_crlm.report.wording import METRIC_TITLES

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
OTHERS: dict[str, Any] = yaml.safe_load((EXPERIMENTS / "tcia" / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
SIMULATED = sorted(PIPELINE["study"]["foreach"])
MATRICES = [stage["matrix"] for stage in PIPELINE.values() if "matrix" in stage]
REPORTED = sorted(path.parent.name for path in EXPERIMENTS.glob("*/metrics.json"))
ANCHOR = "radmlbench_anchor"


def experiment(name: str) -> ExperimentConfig:
    return load_config(ExperimentConfig, EXPERIMENTS / f"{name}.yaml")


def test_every_experiment_has_its_stages() -> None:
    shipped = [path.stem for path in EXPERIMENTS.glob("*.yaml") if path.stem != "demo"]
    kinds = {name: experiment(name).cohort.kind for name in shipped}
    assert sorted(name for name, kind in kinds.items() if kind == "simulated") == SIMULATED
    assert sorted(PIPELINE["cohort"]["foreach"]) == sorted(PIPELINE["report"]["foreach"]) == SIMULATED
    assert sorted(name for matrix in MATRICES for name in matrix["experiment"]) == SIMULATED
    others = sorted(name for name, kind in kinds.items() if kind != "simulated")
    assert sorted(OTHERS["study"]["matrix"]["experiment"]) == others
    assert sorted(OTHERS["report"]["matrix"]["experiment"]) == others


@pytest.mark.parametrize("name", SIMULATED)
def test_every_model_of_an_experiment_is_a_stage(name: str) -> None:
    content = experiment(name)
    matrix = next(matrix for matrix in MATRICES if name in matrix["experiment"])
    stages = set(itertools.product(matrix["endpoint"], matrix["feature_set"], matrix["learner"]))
    assert stages == set(itertools.product(content.endpoints, content.feature_sets, content.learners))
    assert [PIPELINE["study"]["foreach"][name]["endpoint"]] == list(content.endpoints)


def test_dependencies_and_outputs_exist() -> None:
    """DVC looks at a path that is wrong only when its stage runs."""
    for stage in (*PIPELINE.values(), *OTHERS.values()):
        body = stage.get("do", stage)
        for name in body["deps"]:
            assert "${" in name or name.startswith("out/") or (ROOT / name).exists()
    for name in [*SIMULATED, *OTHERS["study"]["matrix"]["experiment"], ANCHOR]:
        assert (EXPERIMENTS / name / "notes.md").is_file()


def test_dvc_tells_nobody() -> None:
    settings = configparser.ConfigParser()
    settings.read_string(
        re.sub(r"^\s+", "", (ROOT / ".dvc" / "config").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert dict(settings["core"]) == {"analytics": "false", "check_update": "false"}


@pytest.mark.parametrize("name", [name for name in REPORTED if name != ANCHOR])
def test_committed_numbers_are_those_of_the_committed_page(name: str) -> None:
    folder, content = EXPERIMENTS / name, experiment(name)
    page = (folder / "README.md").read_text(encoding="utf-8")
    metrics, estimates = (json.loads((folder / f"{kind}.json").read_bytes()) for kind in ("metrics", "estimates"))
    assert sorted(metrics) == sorted(estimates) == sorted(content.endpoints)
    drawn = {f"{endpoint}_{kind}.csv" for endpoint in content.endpoints for kind in ("calibration", "decision")}
    assert {path.name for path in (folder / "plots").iterdir()} == drawn
    for endpoint in content.endpoints:
        config = load_endpoints()[endpoint]
        metric = primary_metric(config)
        found = metrics[endpoint][metric]
        key = metric if config.horizon_months is None else f"{metric}_{config.horizon_months:g}m"
        assert found == {model: all_[key]["estimate"] for model, all_ in estimates[endpoint].items() if key in all_}
        models = {f"{s}/{learner}" for s in content.feature_sets for learner in content.learners}
        assert set(found) >= models | set(content.reported_scores)
        part = page.partition(f"\n## {config.title}\n")[2].partition("\n## ")[0]
        rows = _rows(part.partition("### Performance")[2].partition("### Paired")[0])
        column = rows[0].index(METRIC_TITLES[metric])
        assert sorted(row[column].partition(" ")[0] for row in rows[2:]) == sorted(f"{v:.2f}" for v in found.values())
        said = re.findall(r"\*\*Radiomics adds (\S+) \(95 %", page)
        if "radiomics_adds" in metrics[endpoint] and len(content.endpoints) == 1 and said:
            assert float(said[0].replace("−", "-")) == pytest.approx(
                metrics[endpoint]["radiomics_adds"]["estimate"], abs=0.0005
            )


def test_committed_numbers_of_the_anchor_are_those_of_its_page() -> None:
    metrics = json.loads((EXPERIMENTS / ANCHOR / "metrics.json").read_bytes())
    rows = _rows((EXPERIMENTS / ANCHOR / "README.md").read_text(encoding="utf-8"))[2:]
    assert {row[0].strip("`"): row[1:3] for row in rows} == {
        name: [f"{values['auc']:.4f}", f"{values['published']:.4f}"] for name, values in metrics.items()
    }


def _rows(page: str) -> list[list[str]]:
    """Cells of the first table."""
    lines = itertools.dropwhile(lambda line: not line.startswith("| "), page.splitlines())
    table = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_index_names_every_experiment_and_its_command() -> None:
    index = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    for name in [*SIMULATED, *OTHERS["study"]["matrix"]["experiment"], ANCHOR]:
        row = next(line for line in index.splitlines() if line.startswith(f"| [`{name}`]({name}/README.md) |"))
        assert len(row.strip("|").split("|")) == 5
        target = f"`dvc repro report@{name}`" if name in SIMULATED else "`dvc repro experiments/tcia/dvc.yaml"
        assert target in row


@pytest.mark.parametrize("name", [name for name in REPORTED if name in SIMULATED])
def test_the_index_says_what_was_found(name: str) -> None:
    adds = next(iter(json.loads((EXPERIMENTS / name / "metrics.json").read_bytes()).values()))["radiomics_adds"]
    index = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    answer = next(line for line in index.splitlines() if line.startswith(f"| [`{name}`]")).split("|")[4]
    assert ("no evidence that" in answer) == (adds["lower"] <= 0 <= adds["upper"])
    assert ("radiomics adds" in answer or "the change adds" in answer) == (adds["lower"] > 0)


class Repository:
    """A small repository with one experiment of the pipeline, and DVC in it."""

    def __init__(self, folder: Path, crlm: str) -> None:
        self.folder = folder
        bin_ = folder / "bin"
        bin_.mkdir(parents=True)
        (bin_ / "crlm").write_text(crlm, encoding="utf-8")
        (bin_ / "crlm").chmod(0o755)
        self._environment = {
            **os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(folder)
        }  # fmt: skip
        self.experiment = folder / "experiments" / "simulated_recurrence.yaml"
        without = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
        for name in (".dvc", "configs", "data_schemas", "radiomics_crlm", "requirements"):
            shutil.copytree(ROOT / name, folder / name, ignore=without)
        for path in (*EXPERIMENTS.glob("*.yaml"), *EXPERIMENTS.glob("*/notes.md")):
            copy = folder / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, folder)
        self.git("init", "-q")
        (folder / ".git" / "info" / "exclude").write_text("/bin\n/.cache\n/.config\n/plots\n", encoding="utf-8")
        for setting in ("user.name=DVC", "user.email=dvc@example.org"):
            self.git("config", *setting.split("="))

    def git(self, *arguments: str) -> str:
        return self._run("git", *arguments)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "all")

    def dvc(self, *arguments: str) -> str:
        return self._run(sys.executable, "-m", "dvc", *arguments)

    def shown(self, *arguments: str) -> dict[str, Any]:
        """What DVC shows as JSON, apart from its remarks."""
        line = next(line for line in self.dvc(*arguments).splitlines() if line.startswith("{"))
        found: dict[str, Any] = json.loads(line)
        return found

    def todo(self) -> set[str]:
        """Stages that would run."""
        said = self.dvc("repro", "--dry", "report@simulated_recurrence")
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
    code = "from radiomics_crlm.cli import main; main()"
    repository = Repository(tmp_path / "repository", f"#!/bin/sh\nexec {sys.executable} -P -c '{code}' \"$@\"\n")
    repository.experiment.write_text(yaml.safe_dump(small), encoding="utf-8")
    repository.dvc("repro", "report@simulated_recurrence")
    report = repository.experiment.with_suffix("")

    alone = tmp_path / "alone"
    few_voxels = 4  # exit code: a lesion of the first patient is too small for features
    assert run(["run", str(repository.experiment), "--out", str(alone), "--jobs", "1"]) == few_voxels
    (tmp_path / "report").mkdir()
    shutil.copy(report / "notes.md", tmp_path / "report")
    assert run(["report", str(alone), "--to", str(tmp_path / "report")]) == 0
    assert files(report) == files(tmp_path / "report")
    metrics = "experiments/simulated_recurrence/metrics.json"
    kept = repository.shown("metrics", "show", "--json", metrics)[""]["data"][metrics]["data"]
    assert kept == json.loads((report / "metrics.json").read_text(encoding="utf-8"))

    assert repository.todo() == set()
    notes = report / "notes.md"
    notes.write_text(notes.read_text(encoding="utf-8") + "\nAnother word.\n", encoding="utf-8")
    assert repository.todo() == {"report@simulated_recurrence"}
    repository.dvc("repro", "report@simulated_recurrence")
    assert "Another word." in (report / "README.md").read_text(encoding="utf-8")
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


# Stands in for the program where only the wiring is tested: parts, runs and reports that say what they were given.
STAND_IN = """#!{python}
import json, pathlib, sys, yaml
words = sys.argv[1:]
def after(flag): return [words[i + 1] for i, word in enumerate(words) if word == flag]
def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
if words[0] == "report":
    to, seed = pathlib.Path(after("--to")[0]), json.loads((pathlib.Path(words[1]) / "part.json").read_text())["seed"]
    endpoint = "conversion" if to.name == "simulated_conversion" else "conversion_restaging"
    endpoint = "recurrence" if "recurrence" in to.name else endpoint
    write(to / "README.md", str(seed))
    write(to / "figures" / "one.svg", "<svg/>")
    write(to / "estimates.json", "{{}}")
    write(to / "metrics.json", json.dumps({{endpoint: {{"c_index": {{"m": seed}}}}}}))
    write(to / "plots" / f"{{endpoint}}_calibration.csv", f"horizon_months,predicted,observed\\n12,0.1,{{seed}}\\n")
    write(to / "plots" / f"{{endpoint}}_decision.csv", "horizon_months,threshold,net_benefit\\n12,0.1,0.2\\n")
else:
    experiment = yaml.safe_load(pathlib.Path(words[1]).read_text())
    part = {{"seed": experiment["design"]["seed"], "model": after("--model"), "parts": after("--part")}}
    write(pathlib.Path(after("--out")[0]) / "part.json", json.dumps(part))
    sys.exit(4 if words[0] == "run" else 0)
"""


@pytest.mark.slow
def test_experiments_and_plots_of_dvc_work_over_the_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("dvc", reason="DVC is not installed")
    repository = Repository(tmp_path / "repository", STAND_IN.format(python=sys.executable))
    repository.commit()
    name, report = "experiments/simulated_conversion", "report@simulated_conversion"
    repository.dvc("repro", report)
    repository.commit()
    assert repository.git("status", "--short") == ""
    assert "up to date" in repository.dvc("repro", report)
    part = json.loads((repository.folder / "out/dvc/simulated_conversion/study/part.json").read_text(encoding="utf-8"))
    assert len(part["parts"]) == 1 + 3 * 2

    said = repository.dvc("exp", "run", "-n", "other", "-S", f"{name}.yaml:design.seed=7", report)
    done = set(re.findall(r"Running stage '([^']+)'", said))
    models = {f"conversion@simulated_conversion-conversion-{s}-{learner}"
              for s in ("clinical", "radiomics", "combined") for learner in ("ridge", "xgboost")}  # fmt: skip
    assert done == {report, "study@simulated_conversion", *models}
    assert re.search(r"^other,", repository.dvc("exp", "show", "--csv"), re.MULTILINE)
    change = {"old": 20261121, "new": 7, "diff": 7 - 20261121}
    for kind, entry in (("metrics", (f"{name}/metrics.json", "conversion.c_index.m")),
                        ("params", (f"{name}.yaml", "design.seed"))):  # fmt: skip
        assert repository.shown(kind, "diff", "--json") == {entry[0]: {entry[1]: change}}
    repository.dvc("plots", "diff", "-o", "plots")
    page = (repository.folder / "plots" / "index.html").read_text(encoding="utf-8")
    assert page.count('"facet": {"column": {"field": "horizon_months"') == 2
    assert "<DVC_METRIC" not in page
    assert report in repository.dvc("dag", "--md")
