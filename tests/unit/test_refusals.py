"""What a full disk, a closed folder or Ctrl-C makes of a command; what is half-written is noticed, told and removed."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import typer
from small_scans import small_scan

from radiomics_crlm.cli import folders
from radiomics_crlm.cli.app import app, run
from radiomics_crlm.cli.folders import output_folder
from radiomics_crlm.cli.refusals import refused
from radiomics_crlm.config import ExperimentConfig, load_config
from radiomics_crlm.errors import ConfigError, CrlmError, InputError
from radiomics_crlm.imaging.volume import read_volume, write_volume
from radiomics_crlm.provenance.files import write_bytes
from radiomics_crlm.provenance.tables import TableWriter
from radiomics_crlm.resources import resource as packaged
from radiomics_crlm.study import demo, parts
from radiomics_crlm.study.resume import FOLDER, is_finished


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file may become larger, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "a file cannot be written; expected room on the disk; got No space left on device. Make room"),
        (errno.EDQUOT, "a file cannot be written; expected room on the disk; got Disk quota exceeded"),
        (errno.EROFS, "cannot be used; expected the right to read inputs and to write outputs; got Read-only file"),
        (errno.EACCES, "cannot be used; expected the right to read inputs and to write outputs; got Permission denied"),
        (errno.ENOENT, "a file or folder is missing; expected all files of the folder; got No such file or directory"),
        (errno.ENAMETOOLONG, "a path cannot be used; expected short names"),
        (errno.EIO, "cannot be used; expected a file system that works; got Input/output error. Check the disk"),
    ],
)
def test_each_refusal_of_the_system_has_its_words(code: int, words: str, tmp_path: Path) -> None:
    error = OSError(code, "secret words of a library", str(tmp_path / "out" / "patient.nii"))
    told = refused(error, ["extract", "cohort", "--cache", str(tmp_path), f"--out={tmp_path / 'out'}"])
    assert str(told).startswith("--out: ")
    assert words in str(told)
    assert "give the same command again" in str(told)
    assert not any(secret in str(told) for secret in ("secret", "patient", str(tmp_path)))
    assert told.exit_code == 1


@pytest.mark.parametrize(
    ("filename", "where"),
    [("/data/in/x", "argument 1"), ("/data/out/x", "--out"), ("/elsewhere", "crlm ingest"), (None, "crlm ingest")],
)
def test_a_refusal_names_the_option(filename: str | None, where: str) -> None:
    error = OSError(errno.ENOSPC, "", filename)
    assert refused(error, ["ingest", "/data/in", "--out", "/data/out"]).where == where


def test_a_working_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert refused(FileNotFoundError(errno.ENOENT, "", "out/run.json"), ["card", "out"]).where == "crlm card"


def test_a_refusal_without_a_number() -> None:
    assert refused(OSError("text of a library"), ["score"]).got == "OSError"


def test_the_program_tells_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with small_files(100):
        assert run(["rules", "docs", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "--out: a file cannot be written; expected room on the disk; got File too large. Make room" in said
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(".")]


def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Path] = []

    def closed(path: Path, mode: int) -> bool:
        assert mode == os.W_OK | os.X_OK
        asked.append(path)
        return False

    monkeypatch.setattr(folders.os, "access", closed)
    assert run(["simulate", "--patients", "100000", "--out", str(tmp_path / "new" / "out")]) == 1
    assert "--out: a file or folder cannot be used; expected the right" in capsys.readouterr().err
    assert asked == [tmp_path]
    assert not (tmp_path / "new").exists()


def test_what_was_left_is_removed_before_and_after_the_work(tmp_path: Path) -> None:
    out = tmp_path / "out"
    deep = out / "images" / "P1" / ".ct.nii.gz.0123abcd-17-89abcdef"
    deep.mkdir(parents=True)
    old, young, other = (out / name for name in (".a.0123abcd-17-89abcdef", ".b.0123abcd-17-89abcdef", ".cache"))
    beside, foreign = (tmp_path / f".{name}.0123abcd-17-89abcdef" for name in ("out", "mine"))
    for path in (deep / "image.nii", old, young, other, beside, foreign):
        path.write_bytes(b"half")

    def age(*paths: Path) -> None:
        for path in paths:
            os.utime(path, (0, 0))

    age(deep, old, other, beside, foreign)
    with typer.Context(typer.main.get_command(app)) as context:
        assert output_folder(context, out) == out
        assert {path.name for path in out.iterdir()} == {young.name, other.name, "images"}
        assert not deep.exists()
        assert not beside.exists()
        age(young)
    assert {path.name for path in out.iterdir()} == {other.name, "images"}
    assert foreign.exists()


def test_a_file_that_does_not_fit_says_which(tmp_path: Path) -> None:
    with small_files(10), pytest.raises(OSError, match="too large") as caught:
        write_bytes(tmp_path / "table", b"x" * 100)
    assert caught.value.filename == str(tmp_path / "table")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_half_an_image_is_never_called_done(tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]) -> None:
    """ITK writes a part of a NIfTI to a full disk and reports success."""
    image, _, _ = small_scan(1)
    path = tmp_path / f"image{ending}"
    with small_files(9000), pytest.raises(OSError, match="the image could not be written whole") as caught:
        write_volume(image, path)
    assert caught.value.errno == errno.ENOSPC
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    write_volume(image, path)
    assert (read_volume(path, case="test").array == image.array).all()


def test_a_table_that_cannot_be_closed_leaves_nothing(tmp_path: Path) -> None:
    def closing() -> None:
        raise OSError(errno.ENOSPC, "full")

    table = pd.DataFrame({"patient_id": ["P1"], "stage": ["x"], "code": ["x"], "reason": ["x"]})
    writer = TableWriter(tmp_path / "exclusions.parquet", "exclusions")
    writer.write(table.assign(endpoint=None, timepoint=None))
    assert len(list(tmp_path.iterdir())) == 1
    writer._writer.close()
    writer._writer = SimpleNamespace(close=closing)
    with pytest.raises(OSError, match="full"):
        writer.__exit__(None)
    assert list(tmp_path.iterdir()) == []


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_ends_any_command_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("radiomics_crlm.clinical.explain.pages", interrupt)
    assert run(["rules", "docs", "--out", str(tmp_path)]) == 130
    said = capsys.readouterr()
    assert (said.out, said.err) == ("stopped; the same command does it again\n", "")


def test_ctrl_c_before_a_command_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(folders.os, "access", interrupt)
    assert run(["simulate", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr() == ("stopped; the same command does it again\n", "")


SLEEPERS = """
import sys, time
from radiomics_crlm.parallel import run
try:
    for _ in run(time.sleep, [0.01, 0.01, 60, 60], jobs=2, on_done=lambda n, _: n == 1 and print("go", flush=True)):
        pass
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def blocked_signals(_: int) -> int:
    """Mask of the signals that this process does not notice."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("SigBlk:")[2].split()[0], 16)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="signal masks are read from /proc")
def test_workers_are_deaf_from_their_first_moment() -> None:
    code = "from test_refusals import blocked_signals as f; from radiomics_crlm.parallel import run; "
    code += "print(f(0), *run(f, [1, 2], jobs=2))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    interrupt = 1 << (signal.SIGINT - 1)
    assert done.stdout.split() == ["0", str(interrupt), str(interrupt)]


def test_ctrl_c_is_for_the_program_not_for_its_workers() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPERS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        preexec_fn=_listen,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=50) == ("stopped\n", "")
    assert time.monotonic() - began < 50


LATE = """
import _thread, queue, time
from radiomics_crlm.parallel import run
put = queue.Queue.put

def interrupted(self, item, *options):
    put(self, item, *options)
    if item == 3:  # the number of the last task: it is in the queue, and nobody was told
        _thread.interrupt_main()

queue.Queue.put = interrupted
try:
    for _ in run(time.sleep, [0.01, 0.01, 60, 60], jobs=2):
        pass
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def test_ctrl_c_while_a_task_is_handed_over() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True, env=environment, timeout=50, preexec_fn=_listen
    )
    assert (done.stdout, done.stderr) == ("stopped\n", "")


def _listen() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def demonstrated(out: Path, monkeypatch: pytest.MonkeyPatch, study: Callable[..., Any], cohort: Any = None) -> Any:
    """The demo with its stages replaced."""

    def nothing(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr(demo, "run_experiment", study)
    monkeypatch.setattr(demo, "result_of", lambda *_, **__: SimpleNamespace(bundles={}, again=True))
    monkeypatch.setattr(demo, "simulate_cohort", cohort or nothing)
    monkeypatch.setattr(demo, "_damage", nothing)
    monkeypatch.setattr(demo, "extract_cohort_features", nothing)
    return demo.run_demo(packaged("experiments/demo.yaml"), out=out, jobs=1, progress=nothing).study


def test_a_demo_that_was_stopped_goes_on_and_a_finished_one_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def study(_: Path, *, out: Path, **__: Any) -> Any:
        calls.append("again" if out.exists() else "new")
        out.mkdir(exist_ok=True)
        if len(calls) == 1:
            raise KeyboardInterrupt
        (out / "run.json").write_text("{}")
        return SimpleNamespace(bundles={}, again=False)

    out = tmp_path / "demo"
    with pytest.raises(KeyboardInterrupt):
        demonstrated(out, monkeypatch, study)
    with pytest.raises(KeyboardInterrupt):
        demonstrated(out, monkeypatch, study, cohort=interrupt)
    assert calls == ["new", "again"]
    assert demonstrated(out, monkeypatch, study).again  # the study is finished: only what follows is done
    assert calls == ["new", "again"]
    assert not demonstrated(out, monkeypatch, study).again  # all was finished: a new demo
    assert calls == ["new", "again", "new"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").touch()
    with pytest.raises(ConfigError, match="holds something that is no demo"):
        demonstrated(tmp_path / "other", monkeypatch, study)


def test_a_finished_run_is_known_even_if_it_was_killed_while_it_tidied_up(tmp_path: Path) -> None:
    assert not is_finished(tmp_path)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / "run.json").write_text("{}")
    assert not is_finished(tmp_path)
    (tmp_path / FOLDER / "finished").write_text("{}")
    assert is_finished(tmp_path)
    assert not (tmp_path / FOLDER).exists()


def test_a_part_that_was_stopped_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    experiment = load_config(ExperimentConfig, packaged("experiments/demo.yaml"))
    out = tmp_path / "part"

    def begin(failure: BaseException) -> None:
        with parts._filling(out, experiment, "cohort"):
            if isinstance(failure, KeyboardInterrupt):
                (out / "half").touch()
            raise failure

    with pytest.raises(CrlmError, match="unusable"):
        begin(CrlmError("unusable"))
    assert list(out.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        begin(KeyboardInterrupt())
    with pytest.raises(InputError, match="holds another unfinished part"), parts._filling(out, experiment, "folds"):
        pytest.fail("was not refused")
    with parts._filling(out, experiment, "cohort"):
        assert (out / "half").is_file()
    assert [path.name for path in out.iterdir()] == ["half"]
    with pytest.raises(InputError, match="not empty"), parts._filling(out, experiment, "cohort"):
        pytest.fail("was not refused")
