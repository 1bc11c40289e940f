"""The tracking store under parallel first use, and a study logged to a real MLflow server on a PostgreSQL database."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from servers import free_port, serving

from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.study.track import track_study

pytestmark = pytest.mark.xdist_group("small study")

FIRST_USE = """
import sys
from pathlib import Path
from radiomics_crlm.provenance.tracking import Tracker

tracker = Tracker(Path(sys.argv[1]), "shared")
run = tracker.start(sys.argv[2])
tracker.log(run, metrics={"auc": 0.5})
tracker.finish(run)
"""


def test_processes_that_meet_on_a_fresh_store_lose_nothing(tmp_path: Path) -> None:
    def start(number: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", FIRST_USE, str(tmp_path), f"run {number}"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(start, range(4)))
    assert [p.returncode for p in done] == [0] * 4, [p.stderr[-2000:] for p in done]
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        assert store.execute("select count(*) from experiments where name = 'shared'").fetchone() == (1,)
        assert store.execute("select count(distinct name) from runs where status = 'FINISHED'").fetchone() == (4,)
        assert store.execute("select count(*) from metrics where key = 'auc'").fetchone() == (4,)


def postgres_programs() -> Path | None:
    """Folder of PostgreSQL's server programs; Debian keeps them off the path."""
    found = [Path(p).parent for p in (shutil.which("initdb"),) if p]
    found += [p.parent for p in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    return found[-1] if found else None


@pytest.fixture
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an empty PostgreSQL database on loopback, gone after the test."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: apt-get install postgresql)")
    as_user: list[str] = []
    folder = tmp_path_factory.mktemp("postgres")
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        as_user = ["setpriv", "--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups"]
        folder = Path("/tmp") / folder.name / f"pg{os.getpid()}"  # noqa: S108  (pytest's folders are closed to others)
        folder.mkdir(parents=True)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data, port = folder / "data", free_port()
    common = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", "mlflow", "-A", "trust", "--no-sync"]
    subprocess.run([*as_user, *initdb], **common)
    control = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
    subprocess.run([*control, "-o", options, "start"], **common)
    try:
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **common)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[str]:
    """Address of an MLflow server on that database."""
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--host", "127.0.0.1",
        "--port", str(port), "--workers", "1", "--artifacts-destination", (tmp_path / "artifacts").as_uri(),
    ]  # fmt: skip
    # Its queue of jobs, which nobody here uses, would start a dozen processes.
    settings = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with serving(command, f"http://127.0.0.1:{port}/health", tmp_path / "server.log", env=settings):
        yield f"http://127.0.0.1:{port}"


def test_a_study_is_tracked_on_a_server_with_postgresql(small_study: Path, server: str, tmp_path: Path) -> None:
    assert track_study(small_study, mlflow_uri=server, progress=lambda *_: None) == server
    client = MlflowClient(tracking_uri=server, registry_uri=server)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert len(parents) == 1
    assert {r.info.status for r in runs} == {"FINISHED"}
    models = {r.info.run_name: r for r in runs}
    assert 0 <= models["recurrence_24m: combined/ridge"].data.metrics["auc"] <= 1
    version = client.get_model_version("small_recurrence_24m", "1")
    assert version.run_id == models["recurrence_24m: combined/ridge"].info.run_id
    fetched = Path(client.download_artifacts(version.run_id, "model/bundle", str(tmp_path)))
    manifest = (small_study / "bundles" / "recurrence_24m" / "manifest.json").read_bytes()
    assert (fetched / "manifest.json").read_bytes() == manifest
    # A study without declared criteria is registered, but nothing is called accepted.
    assert version.aliases == []
    assert version.tags["acceptance_reason"] == "no acceptance criteria were declared"
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == version.run_id]
    assert sorted(r.data.tags["fold"] for r in children) == ["0", "1", "2"]


def silent(*_: object) -> None:
    """No progress."""


@pytest.fixture
def copied(small_study: Path, tmp_path: Path) -> Path:
    """The study without its own store."""
    kept = shutil.ignore_patterns("mlflow*", "cohort", "images")
    return Path(shutil.copytree(small_study, tmp_path / "study", ignore=kept))


def declare(study: Path, **changes: object) -> None:
    run = json.loads((study / "run.json").read_text(encoding="utf-8"))
    run["experiment"] |= changes
    (study / "run.json").write_text(json.dumps(run), encoding="utf-8")


def aliases(client: MlflowClient, name: str) -> dict[str, int]:
    return {alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()}


def test_an_alias_is_set_only_when_the_declared_criteria_hold(copied: Path) -> None:
    within, beyond = {"minimum_estimate": 0.01}, {"minimum_estimate": 0.999}
    declare(copied, track_folds=False, acceptance={"recurrence_24m": within, "recurrence": beyond})
    client = MlflowClient(tracking_uri=(uri := track_study(copied, mlflow_uri=None, progress=silent)), registry_uri=uri)
    assert aliases(client, "small_recurrence_24m") == {"accepted": 1}
    assert aliases(client, "small_recurrence") == {}
    tags = client.get_model_version("small_recurrence", "1").tags
    assert tags["acceptance"] == "failed"
    assert tags["acceptance_reason"].endswith("required at least 0.999")
    # A later version that fails leaves the alias where it was; one without criteria does too.
    declare(copied, acceptance={"recurrence_24m": beyond})
    track_study(copied, mlflow_uri=None, progress=silent)
    assert aliases(client, "small_recurrence_24m") == {"accepted": 1}
    assert client.get_model_version("small_recurrence", "2").tags["acceptance"] == "not declared"
    declare(copied, acceptance={"recurrence_24m": within})
    track_study(copied, mlflow_uri=None, progress=silent)
    assert aliases(client, "small_recurrence_24m") == {"accepted": 3}


def test_tables_environment_and_folds_are_tracked_without_patients(copied: Path, tmp_path: Path) -> None:
    uri = track_study(copied, mlflow_uri=None, progress=silent)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id], max_results=1000)
    parent = next(r for r in runs if "mlflow.parentRunId" not in r.data.tags)
    (tmp_path / "fetched").mkdir()
    fetched = Path(client.download_artifacts(parent.info.run_id, "", str(tmp_path / "fetched")))
    assert fetched.is_relative_to(tmp_path / "fetched")
    content = json.loads((fetched / "tables" / "metrics.json").read_text(encoding="utf-8"))
    saved = read_table(copied / "tables" / "metrics.parquet", "metrics")
    assert content["columns"] == list(saved.columns)
    frame = pd.DataFrame(content["data"], columns=content["columns"])
    np.testing.assert_allclose(frame["lower"].astype(float), saved["lower"].astype(float), atol=1e-14)
    listed = {entry["path"] for entry in json.loads(parent.data.tags["mlflow.loggedArtifacts"])}
    assert {"tables/metrics.json", "tables/comparisons.json", "tables/sample_size.json"} <= listed
    environment = json.loads((fetched / "environment.json").read_text(encoding="utf-8"))
    assert environment["hashes"]["lock"] == parent.data.tags["lock"] == parent.data.tags["hash.lock"]
    assert environment["versions"]["numpy"] == np.__version__
    patients = set(read_table(copied / "tables" / "clinical.parquet", "clinical")["patient_id"])
    texts = [p.read_text(encoding="utf-8", errors="replace") for p in fetched.rglob("*") if p.is_file()]
    assert not [key for key in patients if any(key in text for text in texts)]
    folds = [r for r in runs if r.data.tags.get("fold") == "1"]
    models = 2 * (3 * 2 + 2)  # of each endpoint those of the experiment, and two controls
    assert len(folds) == models
    ridge = next(r for r in folds if r.info.run_name == "recurrence: clinical/ridge, fold 1")
    assert ridge.data.metrics["chosen_penalty"] in (3.0, 1.0, 0.3, 0.1, 0.03)
    assert json.loads(ridge.data.tags["chosen.repeat_0"]).keys() == {"penalty"}
    assert 0 <= ridge.data.metrics["c_index"] <= 1


def test_folds_are_tracked_only_if_wanted(copied: Path) -> None:
    declare(copied, track_folds=False)
    track_study(copied, mlflow_uri=None, progress=silent)
    with closing(sqlite3.connect(copied / "mlflow.db")) as store:
        assert store.execute("select count(*) from runs").fetchone() == (1 + 2 * (3 * 2 + 2),)
