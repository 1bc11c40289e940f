"""`crlm extract` that is killed at any moment, stopped, spread over a cluster or run twice: the same files come out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_scans import write_small_cohort

from radiomics_crlm.cli.app import run
from radiomics_crlm.parallel import pools
from radiomics_crlm.phantom.cohort import simulate_cohort
from radiomics_crlm.phantom.settings import SimulationConfig
from radiomics_crlm.provenance.tables import read_table

COMMAND = [sys.executable, "-c", "import sys; from radiomics_crlm.cli import main; main()", "extract"]
DONE = (0, 4)  # 4: some tiny lesions of the phantoms cannot be measured


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated patients, CT and MR."""
    folder = tmp_path_factory.mktemp("phantoms") / "cohort"
    simulate_cohort(SimulationConfig(patients=2, seed=20261127), folder)
    return folder


@pytest.fixture(scope="module")
def whole(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted run leaves."""
    out = tmp_path_factory.mktemp("whole")
    assert run(["extract", str(cohort), "--out", str(out), "--jobs", "1"]) in DONE
    return out


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.parquet")}


def account(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "extraction.json").read_text())["account"]
    return found


def entries(out: Path) -> int:
    """How many results are in the cache."""
    return sum(1 for _ in (out / ".cache").glob("v1/*/*/*/*.json"))


def start(cohort: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start a command in a group of processes of its own."""
    with out.with_name(f"{out.name}.log").open("ab") as log:
        return subprocess.Popen(
            [*COMMAND, str(cohort), "--out", str(out), *more],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )


def killed(process: subprocess.Popen[bytes], out: Path, after: int, delay: float) -> bool:
    """Kill the whole group some time after so many results are there; False if it was faster."""
    while process.poll() is None and entries(out) < after:
        time.sleep(0.01)
    time.sleep(delay)
    if process.poll() is not None:
        assert process.returncode in DONE, out.with_name(f"{out.name}.log").read_text()
        return False
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return True


def resume_after_kills(cohort: Path, whole: Path, folder: Path, kills: int, seed: int) -> None:
    """Kill runs at random, up to three times in a row, and let each be resumed to its end."""
    rng = np.random.default_rng(seed)
    results, rows = entries(whole), account(whole)["rows"]
    resumed, number = [], 0
    while kills > 0:
        out, number = folder / f"run{number}", number + 1
        reached = 0
        for _ in range(int(rng.integers(1, 4))):
            jobs = str(rng.integers(1, 3))
            # one more than there are results: while the tables are being written, or never
            after = int(rng.integers(reached, results + 2))
            if not killed(start(cohort, out, "--jobs", jobs), out, after, rng.uniform(0, 0.3)):
                break
            kills -= 1
            assert entries(out) >= reached
            reached = entries(out)
        assert run(["extract", str(cohort), "--out", str(out), "--jobs", "1"]) in DONE
        assert tables(out) == tables(whole)
        done = account(out)
        assert (done["rows"], done["rows_cached"] + done["rows_computed"]) == (rows, rows)
        assert done["damaged_entries"] == 0
        resumed.append(done["rows_cached"])
    assert max(resumed) > 0


def test_killed_and_resumed(cohort: Path, whole: Path, tmp_path: Path) -> None:
    resume_after_kills(cohort, whole, tmp_path, kills=3, seed=1)


@pytest.mark.slow
def test_killed_twenty_times_and_resumed(cohort: Path, whole: Path, tmp_path: Path) -> None:
    resume_after_kills(cohort, whole, tmp_path, kills=20, seed=20261121)


def test_what_an_uninterrupted_run_leaves(cohort: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lesions = read_table(whole / "features_lesion.parquet", "features_lesion")
    assert not lesions.duplicated(["patient_id", "timepoint", "modality", "sequence", "lesion"]).any()
    first = account(whole)
    assert first["rows"] == len(lesions) == first["rows_computed"]
    assert 0.05 < first["peak_memory_bytes"] / 2**30 < 4
    before = tables(whole)
    assert run(["extract", str(cohort), "--out", str(whole)]) in DONE
    said = capsys.readouterr().out
    assert f"0 computed, {len(lesions)} from the cache" in said
    assert tables(whole) == before
    assert account(whole)["rows_cached"] == len(lesions)


def test_stopped_by_the_keyboard(cohort: Path, whole: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, str(cohort), "--out", str(tmp_path), "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        # a shell that runs the tests in the background has them ignore the interrupt, and children inherit that
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and entries(tmp_path) < 3:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "stopped; what is finished is kept" in out
    assert "Traceback" not in err
    assert run(["extract", str(cohort), "--out", str(tmp_path), "--jobs", "1"]) in DONE
    assert tables(tmp_path) == tables(whole)
    assert account(tmp_path)["rows_cached"] > 0


def test_jobs_and_caches_change_no_byte(cohort: Path, whole: Path, tmp_path: Path) -> None:
    assert run(["extract", str(cohort), "--out", str(tmp_path / "a"), "--jobs", "2", "--no-cache"]) in DONE
    assert tables(tmp_path / "a") == tables(whole)
    assert not (tmp_path / "a" / ".cache").exists()
    shared = str(tmp_path / "cache")
    for name in ("b", "c"):
        assert run(["extract", str(cohort), "--out", str(tmp_path / name), "--cache", shared]) in DONE
        assert tables(tmp_path / name) == tables(whole)
        assert not (tmp_path / name / ".cache").exists()
    assert account(tmp_path / "b")["rows_cached"] == 0
    assert account(tmp_path / "c")["rows_computed"] == 0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as made:
        yield made


def test_a_cluster_with_a_killed_worker_changes_no_byte(
    cohort: Path, whole: Path, tmp_path: Path, cluster: Any
) -> None:
    import distributed

    with distributed.Client(cluster, set_as_default=False) as client:
        victim = next(iter(client.run(os.getpid).values()))

    def kill() -> None:
        while entries(tmp_path) < 3:
            time.sleep(0.005)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert run(["extract", str(cohort), "--out", str(tmp_path), "--dask", cluster.scheduler_address]) in DONE
    killer.join(timeout=30)
    assert not killer.is_alive()
    assert tables(tmp_path) == tables(whole)
    assert account(tmp_path)["workers"] == 2
    assert account(tmp_path)["damaged_entries"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dask", "tcp://127.0.0.1:9"], "no Dask scheduler answers"),
        (["--cache", "{tmp}/file"], "the cache folder cannot be written to"),
        (["--cache", "{tmp}/c", "--no-cache"], "contradict each other"),
        (["--max-memory", "0"], "--max-memory must be positive"),
    ],
)
def test_wrong_usage_is_told_before_the_first_scan(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "_CONNECT_S", 0.5)
    write_small_cohort(tmp_path / "cohort", 1)
    (tmp_path / "file").write_text("")
    began = time.monotonic()
    given = [a.format(tmp=tmp_path) for a in arguments]
    assert run(["extract", str(tmp_path / "cohort"), "--out", str(tmp_path / "out"), *given]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert time.monotonic() - began < 25
    assert not (tmp_path / "out" / "features_lesion.parquet").exists()


def test_organs_have_a_table_of_their_own(tmp_path: Path) -> None:
    write_small_cohort(tmp_path / "cohort", 2)
    settings = str(tmp_path / "settings.yaml")
    Path(settings).write_text(
        "profiles:\n  organs:\n    description: test\n    modality: CT\n    resample_mm: null\n    bin_width: 25\n"
        "    feature_classes: [firstorder, shape]\n    regions: [lesion, liver]\nscans: {CT/portal_venous: organs}\n"
    )
    out = tmp_path / "out"
    assert run(["extract", str(tmp_path / "cohort"), "--out", str(out), "--settings", settings]) == 4
    organs = read_table(out / "features_region.parquet", "features_region")
    assert organs["region"].tolist() == ["liver", "liver"]
    assert organs["region__original_shape_VoxelVolume"].notna().all()
    lesions = read_table(out / "features_lesion.parquet", "features_lesion")
    assert not [name for name in lesions if name.startswith("region")]
