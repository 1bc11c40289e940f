"""`crlm run` that is killed at any moment, stopped, damaged or spread over a cluster: the same files come out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_experiment import SMALL, write_experiment
from test_designs import BASE, DESIGN, charts

from radiomics_crlm.cli.app import run
from radiomics_crlm.modelling import train
from radiomics_crlm.parallel import pools
from radiomics_crlm.study.prepare import Progress
from radiomics_crlm.study.resume import FOLDER
from radiomics_crlm.study.run import run_experiment

COMMAND = [sys.executable, "-c", "import sys; from radiomics_crlm.cli import main; main()", "run"]
EXPERIMENT: dict[str, Any] = {
    **BASE,
    "name": "resumed",
    "learners": ["ridge", "xgboost"],
    "design": {**DESIGN, "outer_folds": 3, "repeats": 2, "external": {"oslo": "oslo"}},
    "deliver": {"recurrence": "clinical/ridge", "recurrence_6m": "clinical/xgboost"},
}
FOLDS = 2 * 2 * 3 * 2
EXPLAINED = 2 * 3
"""Outer folds of the first repeat of delivered models, which are fitted again until their models are explained."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with charts of two centres and an experiment on them."""
    root = tmp_path_factory.mktemp("resumed")
    (root / "data" / "oslo").mkdir(parents=True)
    charts(150, 0, "A").to_csv(root / "data" / "clinical.csv", index=False)
    charts(80, 1, "B").to_csv(root / "data" / "oslo" / "clinical.csv", index=False)
    (root / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def whole(study: Path) -> Path:
    """What an uninterrupted run leaves."""
    assert run(arguments(study, study / "whole", "--jobs", "1")) == 0
    return study / "whole"


def arguments(study: Path, out: Path, *more: str) -> list[str]:
    return ["run", str(study / "experiment.yaml"), "--data", str(study / "data"), "--out", str(out), *more]


def files(out: Path) -> dict[str, bytes]:
    """All that a run leaves but the tracking store, which has times in it."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.relative_to(out).parts[0].startswith("mlflow")
    }


def same(out: Path, whole: Path) -> None:
    mine, theirs = files(out), files(whole)
    assert mine.keys() == theirs.keys()
    assert [name for name, content in mine.items() if content != theirs[name]] == []


def same_training(out: Path, whole: Path) -> None:
    """As far as `crlm train` goes."""
    mine, theirs = files(out), files(whole)
    assert {"run.json", "tables/predictions.parquet", "tables/attributions.parquet", "tables/tuning.csv"} <= mine.keys()
    assert [name for name, content in mine.items() if content != theirs[name]] == []
    assert not (out / FOLDER).exists()


def kept(out: Path) -> list[Path]:
    """Checkpoints of an unfinished run."""
    return sorted((out / FOLDER / "folds").glob("*/*.json"))


class StopError(Exception):
    """Stands for whatever stops a run."""


def stop_at(stage: str, count: int) -> Progress:
    def progress(now: str, done: int, _: int) -> None:
        if now == stage and done >= count:
            raise StopError

    return progress


def stopped(study: Path, out: Path, stage: str, count: int, jobs: int = 1) -> None:
    with pytest.raises(StopError):
        run_experiment(
            study / "experiment.yaml", out=out, data=study / "data", jobs=jobs, progress=stop_at(stage, count)
        )


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the outer folds that this process fits."""
    names: list[str] = []
    honest = train._outer_fold

    def noted(task: Any) -> Any:
        names.append(task.name)
        return honest(task)

    monkeypatch.setattr(train, "_outer_fold", noted)
    return names


def test_an_uninterrupted_run_leaves_no_trace(whole: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    assert not [name for name in names if name.startswith(".")]
    assert {"run.json", "card.html", "tables", "bundles"} <= names


def test_stopped_at_every_stage_and_resumed(study: Path, whole: Path, tmp_path: Path, fitted: list[str]) -> None:
    out = tmp_path / "out"
    stops = [("rules", 0), ("train", 1), ("train", 9), ("train", FOLDS), ("external", 1), ("evaluate", 0)]
    again = 0
    for stage, count in stops:
        before = len(kept(out))
        fitted.clear()
        stopped(study, out, stage, count)
        again += len(fitted) - (len(kept(out)) - before)
    assert (out / "run.json").is_file()
    fitted.clear()
    assert run(arguments(study, out, "--jobs", "1")) == 0
    assert fitted == []
    assert again <= 3 * EXPLAINED
    same(out, whole)


def test_damaged_checkpoints_are_done_again(study: Path, whole: Path, tmp_path: Path, fitted: list[str]) -> None:
    out = tmp_path / "out"
    stopped(study, out, "evaluate", 0, jobs=2)
    assert len(kept(out)) == FOLDS + 2
    for number, path in enumerate(kept(out)):
        data = path.read_bytes()
        path.write_bytes([data, data[: len(data) // 2], data.replace(b"0.", b"1.", 3), b""][number % 4])
    fitted.clear()
    assert run(["train", *arguments(study, out, "--jobs", "1")[1:]]) == 0
    assert FOLDS / 2 < len(fitted) < FOLDS
    same_training(out, whole)


def start(study: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start a command in a group of processes of its own."""
    with out.with_name(f"{out.name}.log").open("ab") as log:
        return subprocess.Popen(
            [*COMMAND, *arguments(study, out, *more)[1:]],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )


def kill_at(process: subprocess.Popen[bytes], out: Path, count: int, delay: float = 0.0, after: str = "") -> bool:
    """Kill the whole group some time after so many checkpoints and a file are there; False if it was faster."""
    while process.poll() is None and (len(kept(out)) < count or not (out / after).exists()):
        time.sleep(0.01)
    time.sleep(delay)
    if process.poll() is not None:
        assert process.returncode == 0, out.with_name(f"{out.name}.log").read_text()
        return False
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return True


@pytest.mark.slow
def test_killed_and_resumed(study: Path, whole: Path, tmp_path: Path, fitted: list[str]) -> None:
    out = tmp_path / "out"
    assert kill_at(start(study, out, "--jobs", "2"), out, 5)
    assert FOLDS > len(kept(out)) >= 5
    assert kill_at(start(study, out, "--jobs", "2"), out, FOLDS + 2, after="mlflow.db")  # while it makes the store
    assert run(arguments(study, out, "--jobs", "1")) == 0
    assert fitted == []
    same(out, whole)


@pytest.mark.slow
def test_killed_ten_times_and_resumed(study: Path, whole: Path, tmp_path: Path) -> None:
    """At random moments, several times in a row, while training, evaluating, drawing or tracking."""
    rng = np.random.default_rng(20261121)
    kills, number = 0, 0
    while kills < 10:
        out, number = tmp_path / f"run{number}", number + 1
        for _ in range(int(rng.integers(1, 4))):
            before = len(kept(out))
            after, delay = int(rng.integers(0, FOLDS + 3)), float(rng.uniform(0, 4))
            if not kill_at(start(study, out, "--jobs", str(rng.integers(1, 3))), out, after, delay):
                break
            kills += 1
            assert len(kept(out)) >= before
        else:
            assert run(arguments(study, out, "--jobs", "1")) == 0
        same(out, whole)


def test_stopped_by_the_keyboard(study: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("radiomics_crlm.study.run.train_models", interrupt)
    assert run(arguments(study, tmp_path / "out")) == 130
    assert "stopped; what is finished is kept, the same command goes on from there" in capsys.readouterr().out
    assert (tmp_path / "out" / FOLDER).is_dir()


@pytest.mark.parametrize("command", ["run", "train"])
def test_other_runs_in_the_folder_are_refused(
    study: Path, whole: Path, tmp_path: Path, capsys: Any, command: str
) -> None:
    def words(given: list[str]) -> str:
        assert run([command, *given[1:]]) == 3
        return " ".join(capsys.readouterr().err.split())

    before = files(whole)
    assert "it holds a finished run" in words(arguments(study, whole))
    assert files(whole) == before

    out = tmp_path / "out"
    stopped(study, out, "train", 4)
    before = files(out)
    assert "unfinished run of another experiment; expected a new or empty folder" in words(
        arguments(study, out, "--allow-leak")
    )
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**EXPERIMENT, "learners": ["ridge"], "deliver": {}}))
    given = arguments(study, out)
    given[1] = str(other)
    assert "got resumed: another experiment file. Name another folder, or remove it" in words(given)
    changed = tmp_path / "data"
    (changed / "oslo").mkdir(parents=True)
    charts(150, 7, "A").to_csv(changed / "clinical.csv", index=False)
    charts(80, 1, "B").to_csv(changed / "oslo" / "clinical.csv", index=False)
    given = arguments(study, out)
    given[3] = str(changed)
    assert "unfinished run on other data" in (said := words(given))
    assert "got changes in clinical" in said
    left = files(out)
    assert {name: left[name] for name in before} == before


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as made:
        yield made


def test_a_cluster_with_a_killed_worker_changes_no_byte(study: Path, whole: Path, tmp_path: Path, cluster: Any) -> None:
    import distributed

    with distributed.Client(cluster, set_as_default=False) as client:
        victim = next(iter(client.run(os.getpid).values()))

    def kill() -> None:
        while len(kept(tmp_path / "out")) < 3:
            time.sleep(0.005)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert run(["train", *arguments(study, tmp_path / "out", "--dask", cluster.scheduler_address)[1:]]) == 0
    killer.join(timeout=30)
    assert not killer.is_alive()
    same_training(tmp_path / "out", whole)


def test_a_wrong_address_is_told_before_anything_is_read(
    study: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_CONNECT_S", 0.5)
    assert run(arguments(study, tmp_path / "out", "--dask", "tcp://127.0.0.1:9")) == 2
    assert "no Dask scheduler answers" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("small study")
def test_extraction_goes_on_too(small_study: Path, tmp_path: Path) -> None:
    """Killed once among the scans and once among the folds, of a study on simulated images."""
    file, out = write_experiment(tmp_path / "small.yaml", **SMALL), tmp_path / "out"
    for stage, count in (("extract", 10), ("train", 5)):
        with pytest.raises(StopError):
            run_experiment(file, out=out, jobs=2, progress=stop_at(stage, count))
    regions = list((out / FOLDER / "extraction").glob("v1/region/*/*/*.json"))
    assert len(regions) > 50
    times = {path: path.stat().st_mtime_ns for path in regions}
    with pytest.raises(StopError):
        run_experiment(file, out=out, jobs=2, progress=stop_at("evaluate", 0))
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert set((out / FOLDER / "extraction").glob("v1/region/*/*/*.json")) == set(regions)
    assert run(["run", str(file), "--out", str(out), "--jobs", "2"]) == 4
    same(out, small_study)
