"""Batches that stop: killed anywhere, on a full disk, with dead workers - the same bytes after the same command."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from scoring_examples import bundle, clinical_raw, content, model

from radiomics_crlm.errors import CrlmError, InputError
from radiomics_crlm.parallel import Lost
from radiomics_crlm.scoring import batch
from radiomics_crlm.scoring.batch import Options, score_cohort, score_source
from radiomics_crlm.scoring.bundle import write_bundle
from radiomics_crlm.scoring.parts import Part, finish
from radiomics_crlm.scoring.rows import Block
from radiomics_crlm.scoring.source import File

ROWS, BLOCK = 60, 10
SMALL = Options(block=BLOCK, attributions=True)


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def raw(rows: int = ROWS) -> pd.DataFrame:
    found = clinical_raw(rows)
    found.loc[rows // 2, "cea_ng_ml"] = "much"
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run leaves that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    score_cohort(bundle(), raw(), None, folder, options=SMALL)
    found = outputs(folder)
    assert set(found) == {"scores.parquet", "scores.csv", "attributions.parquet", "summary.json"}
    return found


def stopped(folder: Path, rows: int) -> None:
    """A run that ended after some rows."""

    def stop(done: int, _: int) -> None:
        if done == rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_cohort(bundle(), raw(), None, folder, options=replace(SMALL, on_progress=stop))


def test_what_is_finished_is_not_done_again(tmp_path: Path, whole: dict[str, bytes]) -> None:
    stopped(tmp_path, 30)
    assert {path.name for path in tmp_path.iterdir()} == {".unfinished"}
    seen: list[int] = []
    options = replace(SMALL, on_progress=lambda done, total: seen.append(done * 1000 + total))
    summary = score_cohort(bundle(), raw(), None, tmp_path, options=options)
    assert summary.resumed == 30
    assert seen == [30060, 40060, 50060, 60060]
    assert outputs(tmp_path) == whole


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "exchanged", "foreign"])
def test_a_damaged_block_is_computed_again(tmp_path: Path, whole: dict[str, bytes], damage: str) -> None:
    stopped(tmp_path, 40)
    one, other, *_ = sorted((tmp_path / ".unfinished" / "parts").iterdir())
    data = one.read_bytes()
    bad = {
        "cut": data[: len(data) // 2],
        "flipped": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        "emptied": b"",
        "exchanged": other.read_bytes(),
        "foreign": b"[1]\n" + data,
    }
    one.write_bytes(bad[damage])
    assert score_cohort(bundle(), raw(), None, tmp_path, options=SMALL).resumed == 30
    assert outputs(tmp_path) == whole


def test_unfinished_scores_of_another_input_are_not_lost(tmp_path: Path, whole: dict[str, bytes]) -> None:
    stopped(tmp_path, 20)
    before = outputs(tmp_path)
    with pytest.raises(InputError, match="holds the scores of another bundle, input or version"):
        score_cohort(bundle(), raw(70), None, tmp_path, options=SMALL)
    assert outputs(tmp_path) == before
    assert score_cohort(bundle(), raw(), None, tmp_path, options=SMALL).resumed == 20
    assert outputs(tmp_path) == whole


def test_an_unfinished_study_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / ".unfinished" / "folds").mkdir(parents=True)
    (tmp_path / ".unfinished" / "run.json").write_text("{}")
    with pytest.raises(InputError, match="holds the scores of another bundle, input or version"):
        score_cohort(bundle(), raw(), None, tmp_path, options=SMALL)
    assert outputs(tmp_path / ".unfinished").keys() - {"lock"} == {"run.json"}
    assert (tmp_path / ".unfinished" / "run.json").read_text() == "{}"


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / ".unfinished").mkdir()
    with (
        FileLock(tmp_path / ".unfinished" / "lock"),
        pytest.raises(InputError, match="another process works in the output folder"),
    ):
        score_cohort(bundle(), raw(), None, tmp_path, options=SMALL)


_UNTIL_KILLED = """
import os, signal, sys, threading
from pathlib import Path
from scoring_examples import bundle
from test_batch_resume import SMALL, raw
from radiomics_crlm.scoring.batch import score_cohort

delay = float(sys.argv[2])

def begin(done, total):
    if done == int(sys.argv[3]):
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()

from dataclasses import replace
score_cohort(bundle(), raw(), None, Path(sys.argv[1]), options=replace(SMALL, on_progress=begin))
"""


def test_kill_minus_nine_at_three_random_moments(tmp_path: Path, whole: dict[str, bytes]) -> None:
    here = Path(__file__).resolve().parent
    environment = os.environ | {"PYTHONPATH": f"{here.parent}:{here}"}
    draw = np.random.default_rng(20261121)
    killed = 0
    for start in (0, 20, 60):
        # The last one dies while the tables are put together, or just has finished.
        delay = draw.uniform(0, 0.02 if start == 60 else 0.1)
        command = [sys.executable, "-c", _UNTIL_KILLED, str(tmp_path), str(delay), str(start)]
        done = subprocess.run(command, env=environment, check=False)
        assert done.returncode in (-signal.SIGKILL, 0)
        killed += done.returncode != 0
    assert killed
    score_cohort(bundle(), raw(), None, tmp_path, options=SMALL)
    assert outputs(tmp_path) == whole


@pytest.mark.slow
def test_kill_minus_nine_at_twenty_random_moments_of_the_command(tmp_path: Path) -> None:
    """The whole command with two workers, killed with all its processes."""
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    write_bundle(tmp_path / "bundle", content(), model())
    raw(400_000).to_csv(cohort / "clinical.csv", index=False)

    def command(out: str, jobs: int) -> list[str]:
        arguments = ["--bundle", tmp_path / "bundle", "--cohort", cohort, "--out", tmp_path / out, "--jobs", jobs]
        program = "import sys; from radiomics_crlm.cli import main; main()"
        return [sys.executable, "-c", program, "score", *map(str, arguments)]

    began = time.monotonic()
    assert subprocess.run(command("whole", 1), check=False).returncode == 4
    length, expected = time.monotonic() - began, outputs(tmp_path / "whole")
    draw, killed, again = np.random.default_rng(20261121), 0, 0
    while killed < 20 or not (tmp_path / "killed" / "summary.json").exists():
        process = subprocess.Popen(command("killed", 2), start_new_session=True)
        try:
            code = process.wait(draw.uniform(0.2, 0.7) * length)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        assert code == 4
        assert outputs(tmp_path / "killed") == expected
        if killed < 20:  # finished before it was killed often enough: from the beginning
            again += 1
            assert again < 20
            shutil.rmtree(tmp_path / "killed")
    assert outputs(tmp_path / "killed") == expected


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path, whole: dict[str, bytes]) -> None:
    score_cohort(bundle(), raw(), None, tmp_path, options=replace(SMALL, jobs=2))
    assert outputs(tmp_path) == whole


def test_a_dask_cluster_gives_the_same_bytes(tmp_path: Path, whole: dict[str, bytes]) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", silence_logs=50
    ) as cluster:
        options = replace(SMALL, dask=cluster.scheduler_address)
        score_cohort(bundle(), raw(), None, tmp_path, options=options)
    assert outputs(tmp_path) == whole


def die(block: Block) -> Part:
    """The worker of the third block is killed each time."""
    if block.start == 2 * BLOCK:
        os.kill(os.getpid(), signal.SIGKILL)
    return finish(block)


def lose_the_third(function: Callable[[Block], Part], tasks: Iterable[Block], **_: object) -> Iterator[Part | Lost]:
    """`parallel.run` whose workers die of one block."""
    for number, task in enumerate(tasks):
        yield Lost() if number == 2 else function(task)


def test_a_block_that_is_given_up_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(batch.parallel, "run", lose_the_third)
        with pytest.raises(CrlmError, match="rows 22 to 31: 1 blocks of rows were given up: their workers died"):
            score_cohort(bundle(), raw(), None, tmp_path, options=SMALL)
    assert score_cohort(bundle(), raw(), None, tmp_path, options=SMALL).resumed == ROWS - BLOCK
    assert outputs(tmp_path) == whole


@pytest.mark.slow
def test_a_worker_that_is_killed_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(batch, "finish", die)
        with pytest.raises(CrlmError, match="rows 22 to 31: 1 blocks of rows were given up: their workers died"):
            score_cohort(bundle(), raw(), None, tmp_path, options=replace(SMALL, jobs=2))
    assert score_cohort(bundle(), raw(), None, tmp_path, options=SMALL).resumed == ROWS - BLOCK
    assert outputs(tmp_path) == whole


@pytest.fixture
def small_files() -> Iterator[Any]:
    """Sets how large a file may become, as a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_nothing_that_was_computed(tmp_path: Path, whole: dict[str, bytes], small_files: Any) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    small_files(len(whole["scores.csv"]) - 1)
    with pytest.raises(OSError, match="File too large"):
        score_cohort(bundle(), raw(), None, tmp_path, options=SMALL)
    small_files(before)
    assert not [path for path in tmp_path.iterdir() if path.name != ".unfinished"]
    assert score_cohort(bundle(), raw(), None, tmp_path, options=SMALL).resumed == ROWS
    assert outputs(tmp_path) == whole


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        score_cohort(bundle(), raw(), None, tmp_path / "file" / "out", options=SMALL)


def test_a_table_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "clinical.csv"
    raw().to_csv(path, index=False)
    with path.open("a") as stream:
        stream.write("P9,1,2,3,4,5,6,7,8,9,10\n")
    with pytest.raises(InputError, match="cannot be read as a table"):
        score_source(bundle(), File(path), tmp_path / "out", options=SMALL)
    assert not (tmp_path / "out" / ".unfinished").exists()
    assert not (tmp_path / "out" / "scores.csv").exists()
