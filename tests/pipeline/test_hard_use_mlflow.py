"""Eight processes that meet on a fresh tracking store: nobody fails, and nothing is lost.

The processes are started once and wait for each other before every round, so that they meet to the millisecond; the
last round is done by processes that start for it, as users' do.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from radiomics_crlm.provenance.tracking import Tracker

EIGHT = 8
ALONE = """
import sys
from pathlib import Path
from test_hard_use_mlflow import track

track(Path(sys.argv[1]), sys.argv[2])
"""


def track(out: Path, name: str) -> None:
    """What a study does with its store: a run, a run below it, numbers, a text, and a registered model."""
    tracker = Tracker(out, "shared")
    parent = tracker.start(name)
    tracker.log(parent, params={"who": name}, metrics={"auc": 0.5})
    tracker.log_text(parent, "note.txt", name)
    child = tracker.start(f"{name}, fold 0", parent=parent)
    tracker.log(child, metrics={"auc": 0.25})
    model = out / "model"
    tracker.alias("shared", tracker.register(child, model, model="shared", tags={"who": name}), "accepted")
    tracker.finish(child)
    tracker.finish(parent)


def stay(number: int, folder: Path, rounds: int, together: Any, failures: Any) -> None:
    """One of the processes, for all rounds."""
    import mlflow  # noqa: F401  (seconds, which would keep them apart in the first round)

    for count in range(rounds):
        together.wait(timeout=1800)
        try:
            track(folder / f"{count:02d}", f"run {number}")
        except Exception:  # noqa: BLE001  (told to the test)
            failures.put(f"round {count}, process {number}: {traceback.format_exc()[-3000:]}")


def fresh(folder: Path, rounds: int) -> None:
    for count in range(rounds):
        (folder / f"{count:02d}" / "model").mkdir(parents=True)
        (folder / f"{count:02d}" / "model" / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")


def assert_nothing_lost(out: Path) -> None:
    """One experiment; of each process its runs, numbers, text and version of the model."""

    def one(question: str) -> int:
        return int(store.execute(question).fetchone()[0])

    with closing(sqlite3.connect(out / "mlflow.db")) as store:
        assert store.execute("pragma integrity_check").fetchone() == ("ok",)
        assert one("select count(*) from experiments where name = 'shared'") == 1
        assert one("select count(distinct name) from runs where status = 'FINISHED'") == 2 * EIGHT
        assert one("select count(*) from metrics where key = 'auc'") == 2 * EIGHT
        assert one("select count(*) from params where key = 'who'") == EIGHT
        assert one("select count(*) from registered_models") == 1
        versions = [row[0] for row in store.execute("select version from model_versions order by version")]
    assert versions == list(range(1, EIGHT + 1))
    assert sorted(p.read_text() for p in out.rglob("note.txt")) == [f"run {number}" for number in range(EIGHT)]


def meet(folder: Path, rounds: int) -> None:
    fresh(folder, rounds)
    spawn = multiprocessing.get_context("spawn")
    together, failures = spawn.Barrier(EIGHT), spawn.Queue()
    crowd = [spawn.Process(target=stay, args=(n, folder, rounds, together, failures)) for n in range(EIGHT)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(timeout=7200)
    said = [failures.get() for _ in range(failures.qsize())]
    assert said == []
    assert [one.exitcode for one in crowd] == [0] * EIGHT
    for count in range(rounds):
        assert_nothing_lost(folder / f"{count:02d}")


@pytest.mark.slow
def test_eight_processes_on_a_fresh_store_fifty_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    meet(tmp_path, 50)
    with capsys.disabled():
        took = time.monotonic() - began
        sys.stdout.write(f"\n50 rounds of {EIGHT} processes on a fresh store: no failure, {took:.0f} s\n")


@pytest.mark.slow
def test_eight_processes_that_start_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each round with eight new processes, as when eight commands are given at once."""
    began, rounds = time.monotonic(), 5
    fresh(tmp_path, rounds)
    for count in range(rounds):
        out = tmp_path / f"{count:02d}"
        path = {"PYTHONPATH": ":".join(p for p in sys.path if p)}

        def start(number: int, out: Path = out, path: dict[str, str] = path) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", ALONE, str(out), f"run {number}"]
            return subprocess.run(command, capture_output=True, text=True, check=False, env=path)

        with ThreadPoolExecutor(EIGHT) as pool:
            done = list(pool.map(start, range(EIGHT)))
        assert [p.returncode for p in done] == [0] * EIGHT, [p.stderr[-2000:] for p in done]
        assert_nothing_lost(out)
    with capsys.disabled():
        took = time.monotonic() - began
        sys.stdout.write(f"\n{rounds} rounds of {EIGHT} new processes: no failure, {took:.0f} s\n")
