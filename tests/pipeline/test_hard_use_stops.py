"""Every command that writes something over time, stopped by Ctrl-C or killed at random moments, and repeated.

After Ctrl-C a command has said one line, left no process and no half-written file, and its code is 130. Whatever
stopped it, the same command then finishes, with the bytes of a run that nobody disturbed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hard_use import DONE, WORKS, Work, differences, files, finish, start, write_inputs

pytestmark = pytest.mark.xdist_group("hard use")
TORN = re.compile(r"\..+\.[0-9a-f]{8}-\d+-[0-9a-f]{8}")
TRIALS = int(os.environ.get("HARD_USE_TRIALS", "10"))
INTERRUPT, KILL = signal.SIGINT, signal.SIGKILL


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("hard") / "inputs")


@dataclass(frozen=True)
class Whole:
    """What an undisturbed run leaves, and how long it took from its first line of code on."""

    files: Mapping[str, bytes]
    seconds: float


def undisturbed(work: Work, inputs: Path, folder: Path) -> Whole:
    out = work.prepare(inputs, folder / "whole")
    began = time.monotonic()
    code, said, errors = finish(work.command(inputs, out))
    assert code in DONE, errors
    assert "Traceback" not in said + errors
    return Whole(files(out, work.besides), time.monotonic() - began)


def disturb(work: Work, inputs: Path, out: Path, number: signal.Signals, delay: float) -> bool:
    """Send a signal to all processes of the command after so many seconds; False if the command was faster."""
    running = start(work.command(inputs, out))
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.process.wait(delay)
    fast = running.process.poll() is not None
    running.signal(number)
    code, said, errors = running.end(timeout=120)
    assert running.alive() == []
    assert "Traceback" not in said + errors, errors
    assert "unexpected failure" not in errors
    if number == INTERRUPT and code == 130:
        told = [line for line in (said + errors).splitlines() if line.startswith("stopped")]
        assert len(told) == 1, (said, errors)
        assert not [path for path in out.rglob(".*") if TORN.fullmatch(path.name)]
        return True
    if is_finished(work, out, code, errors):
        return False
    assert code in (*DONE, -number), (code, said, errors)
    return not fast


def is_finished(work: Work, out: Path, code: int, errors: str) -> bool:
    """A command that left a finished study alone: it had been stopped when only its last words were missing."""
    records = [out / "part.json", out / "run.json"]
    return code == 3 and "not empty" in errors and (work.name.startswith("bundle") or any(map(Path.is_file, records)))


def repeat(work: Work, inputs: Path, out: Path, whole: Whole) -> None:
    """The same command to its end, unless the run of before was the end: a finished study is left alone."""
    code, _, errors = finish(work.command(inputs, out))
    assert code in DONE or is_finished(work, out, code, errors), errors
    assert differences(files(out, work.besides), whole.files) == []


def campaign(work: Work, inputs: Path, folder: Path, number: signal.Signals, trials: int) -> str:
    whole = undisturbed(work, inputs, folder)
    draw = np.random.default_rng([20261122, int(number), *work.name.encode()])
    stopped = again = 0
    while stopped < trials and again < 2 * trials:
        out, again = work.prepare(inputs, folder / f"out{again}"), again + 1
        for _ in range(int(draw.integers(1, 4))):  # several times in a row
            hit = disturb(work, inputs, out, number, float(draw.uniform(0, 1.0)) * whole.seconds)
            stopped += hit
            if not hit:
                break
        repeat(work, inputs, out, whole)
    assert stopped >= min(trials, 3)
    return f"{work.name}: {stopped} times {number.name}, {again} runs to the end, {len(whole.files)} files"


@pytest.mark.slow
@pytest.mark.parametrize("number", [INTERRUPT, KILL], ids=["interrupted", "killed"])
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_stopped_anywhere_and_repeated(
    work: Work, number: signal.Signals, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = campaign(work, inputs, tmp_path, number, TRIALS)
    with capsys.disabled():
        sys.stdout.write(f"\n{told}\n")
