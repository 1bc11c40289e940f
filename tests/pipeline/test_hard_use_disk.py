"""Every command that writes, on a full disk, a disk that is read-only, and in a folder of somebody else.

It ends with a documented code and one error that says what, where, what was expected, what came and what to do; nothing
half-written counts as finished; with room, the same command finishes with the bytes of a run that nobody disturbed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hard_use import (
    BY_NAME,
    DONE,
    WORKS,
    Work,
    can_mount,
    change_disk,
    differences,
    files,
    finish,
    small_disk,
    used,
    write_inputs,
)

pytestmark = pytest.mark.xdist_group("hard use")
PAGE = 4096
PLENTY = 256 << 20
NOBODY = 65534
SHARES = (0.0, 0.4, 0.8, 0.97)
REFUSALS = ("No space left on device", "Read-only file system", "Permission denied", "disk is full")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("hard") / "inputs")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where a small disk can be mounted."""
    if not can_mount(tmp_path / "probe"):
        pytest.skip("this user may not mount a small disk (needs root and tmpfs)")
    return tmp_path / "disk"


def assert_told(code: int, said: str, errors: str) -> None:
    """One error with the parts of all errors of the program, and the code of a failure."""
    assert code == 1, (code, said, errors)
    assert "Traceback" not in said + errors, errors
    told = [line for line in errors.splitlines() if line.startswith("crlm: error: ")]
    assert len(told) == 1, errors
    assert any(words in told[0] for words in REFUSALS), errors
    assert "unexpected failure" not in errors
    assert "; expected " in told[0], errors
    assert "; got " in told[0], errors
    assert "the same command again" in told[0] or "repeat the command" in told[0], errors


def assert_ends_well(work: Work, inputs: Path, out: Path, whole: dict[str, bytes]) -> None:
    code, _, errors = finish(work.command(inputs, out))
    assert code in DONE, errors
    assert differences(files(out, work.besides), whole) == []


def fill(work: Work, inputs: Path, disk: Path, shares: Sequence[float] = SHARES) -> tuple[int, int]:
    """The command on disks of several sizes; how many were too small, and of how many."""
    with small_disk(disk, PLENTY):
        out = work.prepare(inputs, disk / "out")
        before = used(disk)
        assert finish(work.command(inputs, out))[0] in DONE
        needed, whole = used(disk) - before, files(out, work.besides)
    full = 0
    for share in shares:
        with small_disk(disk, PLENTY):
            out = work.prepare(inputs, disk / "out")
            size = max(used(disk) + int(share * needed), PAGE) // PAGE * PAGE
            change_disk(disk, f"size={size}")
            code, said, errors = finish(work.command(inputs, out))
            if code not in DONE:
                assert_told(code, said, errors)
                full += 1
            change_disk(disk, f"size={PLENTY}")
            if code not in DONE:
                assert_ends_well(work, inputs, out, whole)
            else:
                assert differences(files(out, work.besides), whole) == []
    return full, len(shares)


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_a_full_disk(work: Work, inputs: Path, disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full, sizes = fill(work, inputs, disk)
    assert full
    with capsys.disabled():
        sys.stdout.write(f"\n{work.name}: {full} of {sizes} disks too small, all told and repeated with room\n")


def read_only(work: Work, inputs: Path, disk: Path) -> None:
    with small_disk(disk, PLENTY):
        out = work.prepare(inputs, disk / "out")
        before = files(disk)
        change_disk(disk, "ro")
        assert_told(*finish(work.command(inputs, out)))
        assert files(disk) == before


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_a_read_only_disk(work: Work, inputs: Path, disk: Path) -> None:
    read_only(work, inputs, disk)


@pytest.fixture
def bound() -> None:
    """Rights do not bind root, and only root can hand a folder to somebody else."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv to lay down what makes root free of rights")


def foreign(work: Work, inputs: Path, out: Path) -> None:
    """In a folder that belongs to somebody else, who lets others read."""
    work.prepare(inputs, out).mkdir(exist_ok=True)
    for path in (out, *out.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    before = files(out)
    assert_told(*finish(work.command(inputs, out), before=["setpriv", "--bounding-set=-all", "--inh-caps=-all"]))
    assert files(out) == before


@pytest.mark.slow
@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_a_folder_of_somebody_else(work: Work, inputs: Path, tmp_path: Path) -> None:
    foreign(work, inputs, tmp_path / "out")


def test_a_full_and_a_read_only_disk_are_told(tmp_path: Path, disk: Path) -> None:
    """The daily part: a command without inputs."""
    work = BY_NAME["rules docs"]
    assert fill(work, tmp_path, disk, [0.5]) == (1, 1)
    read_only(work, tmp_path, disk)
