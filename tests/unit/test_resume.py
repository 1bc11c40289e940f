"""The out folder of an unfinished run: who may work in it, and what is refused with which words."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from radiomics_crlm.config import ExperimentConfig, load_config
from radiomics_crlm.errors import InputError
from radiomics_crlm.resources import resource
from radiomics_crlm.study import resume
from radiomics_crlm.study.resume import FOLDER, Unfinished, identity, is_finished, unfinished_run

MINE = {
    "name": "mine",
    "experiment": "e",
    "leak": "False",
    "lock": "l",
    "versions": "v",
    "engine": "g",
    "learners": "c",
}
DATA = {"clinical": "1", "folds": "2"}


class KilledError(BaseException):
    """Ends a run without a word, as a kill would."""


def work(out: Path, mine: dict[str, str] = MINE, *, stop: BaseException | None = None, data: bool = True) -> Unfinished:
    """A run that makes a table, and ends or is stopped."""
    with unfinished_run(out, mine) as run:
        if data:
            run.claim(DATA)
            run.checkpoints.put("ab" + "0" * 62, {"fits": 1})
            (out / "tables").mkdir(exist_ok=True)
            (out / "tables" / "predictions.parquet").write_bytes(b"1")
        if stop is not None:
            raise stop
        (out / "run.json").write_text("{}")
        run.finish()
    return run


def interrupted(out: Path, mine: dict[str, str] = MINE, *, data: bool = True) -> None:
    with pytest.raises(KilledError):
        work(out, mine, stop=KilledError(), data=data)


def test_a_finished_run_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert not work(out).resumed
    assert {path.name for path in out.iterdir()} == {"run.json", "tables"}
    with pytest.raises(InputError, match="the out folder is not empty: it holds a finished run.*Name another folder"):
        work(out)


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with unfinished_run(tmp_path, MINE) as run:
        assert run.resumed
        run.claim(DATA)
        assert run.checkpoints.get("ab" + "0" * 62) == {"fits": 1}
    assert (tmp_path / FOLDER).is_dir()
    assert work(tmp_path).resumed
    assert not (tmp_path / FOLDER).exists()


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    interrupted(tmp_path)
    killed = ".0123abcd-17-89abcdef"
    leftovers = [tmp_path / f"{name}{killed}" for name in (".a.parquet", "tables/.x", f"{FOLDER}/folds/.y.json")]
    for path in leftovers:
        path.write_bytes(b"half")
    bundle, image = tmp_path / f".recurrence{killed}", tmp_path / f".image.nii{killed}"
    for folder in (bundle, image):
        folder.mkdir()
    (bundle / "model.json").write_bytes(b"half")
    kept = [tmp_path / name for name in (".notes", "tables/.notes.txt", f"notes{killed}")]
    for path in kept:
        path.write_text("mine")
    with unfinished_run(tmp_path, MINE):
        assert not any(path.exists() for path in [*leftovers, bundle, image])
        assert all(path.exists() for path in kept)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"experiment": "x", "name": "theirs"}, "got theirs: another experiment file. Name another folder"),
        ({"leak": "True"}, "got mine: another choice about --allow-leak"),
        ({"lock": "x"}, "got mine: another lock of the libraries"),
        ({"versions": "x"}, "got mine: other versions of the program or its libraries"),
        ({"engine": "x"}, "got mine: another extraction engine"),
        ({"learners": "x", "leak": "True"}, "got mine: another choice about --allow-leak, other code of the learners"),
    ],
)
def test_the_unfinished_run_of_another_experiment_is_refused(
    tmp_path: Path, change: dict[str, str], words: str
) -> None:
    interrupted(tmp_path, MINE | change)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="the unfinished run of another experiment.*" + re.escape(words)):
        work(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert work(tmp_path, MINE | change).resumed


def test_an_identity_is_of_the_content_and_every_part_has_its_words(tmp_path: Path) -> None:
    experiment = load_config(ExperimentConfig, Path(str(resource("experiments/demo.yaml"))))
    mine = identity(experiment, allow_leak=False)
    text = resource("experiments/demo.yaml").read_text(encoding="utf-8")
    (tmp_path / "same.yaml").write_text("# a remark\n" + text, encoding="utf-8")
    assert identity(load_config(ExperimentConfig, tmp_path / "same.yaml"), allow_leak=False) == mine
    assert set(mine) == {"name", *resume._WORDS} == set(MINE)
    assert mine == identity(experiment, allow_leak=False)
    other = experiment.model_copy(update={"learners": ("ridge",)})
    assert {k for k, v in identity(other, allow_leak=True).items() if v != mine[k]} == {"experiment", "leak"}


def test_other_data_are_refused(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with (
        pytest.raises(InputError, match=r"unfinished run on other data.*got changes in clinical, external, folds"),
        unfinished_run(tmp_path, MINE) as run,
    ):
        run.claim({"clinical": "9", "external": "5"})
    assert work(tmp_path).resumed


def test_an_experiment_that_was_refused_can_be_mended(tmp_path: Path) -> None:
    """Nothing of it is left, so the folder is free for the mended file."""
    with pytest.raises(InputError, match="no such column"):
        work(tmp_path, stop=InputError("no such column"), data=False)
    assert list(tmp_path.iterdir()) == []


def test_what_was_extracted_is_good_for_a_mended_experiment(tmp_path: Path) -> None:
    def extract_and_fail() -> None:
        with unfinished_run(tmp_path, MINE) as run:
            run.cache.mkdir()
            (run.cache / "entry.json").write_text("{}")
            raise InputError("no such column")

    with pytest.raises(InputError, match="no such column"):
        extract_and_fail()
    with unfinished_run(tmp_path, MINE | {"experiment": "mended"}) as run:
        assert not run.resumed
        assert (run.cache / "entry.json").is_file()
    interrupted(tmp_path, MINE | {"experiment": "mended"})
    with pytest.raises(InputError, match="another experiment file"):
        work(tmp_path)


def test_killed_before_it_said_whose_it_is(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    assert not work(tmp_path).resumed


def _finished_but_not_swept(out: Path) -> None:
    interrupted(out)
    (out / "run.json").write_text("{}")
    (out / FOLDER / resume._FINISHED).write_text("{}")


def _nobodys(out: Path) -> None:
    (out / FOLDER).mkdir(parents=True)
    (out / "mine.txt").write_text("precious")


def _file(out: Path) -> None:
    out.write_text("precious")


def _damaged(out: Path) -> None:
    interrupted(out)
    (out / FOLDER / resume._RUN).write_text("{")


def _foreign(out: Path) -> None:
    out.mkdir()
    (out / "mine.txt").write_text("precious")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_finished_but_not_swept, "the out folder is not empty: it holds a finished run"),
        (_nobodys, "the out folder is not empty; expected a new or empty folder"),
        (_foreign, "the out folder is not empty; expected a new or empty folder"),
        (_file, "the out folder is not empty; expected a new or empty folder"),
        (_damaged, "the record of the unfinished run is not readable"),
    ],
)
def test_everything_else_is_refused(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    out = tmp_path / "out"
    make(out)
    with pytest.raises(InputError, match=re.escape(words)):
        work(out)
    assert not (out / "mine.txt").exists() or (out / "mine.txt").read_text() == "precious"


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from radiomics_crlm.study.resume import unfinished_run\n"
        f"with unfinished_run(Path(sys.argv[1]), {MINE!r}):\n    print('in', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(InputError, match="another process works in the output folder"):
            work(tmp_path)
        other.kill()
    assert work(tmp_path).resumed


def test_a_run_is_finished_once_its_record_is_written_and_its_store_is_gone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not is_finished(out)
    interrupted(out)
    (out / "run.json").write_text("{}")
    assert not is_finished(out)  # stopped while the record was already there
    (out / FOLDER / resume._FINISHED).write_text("{}")
    assert is_finished(out)
    assert not (out / FOLDER).exists()
    assert is_finished(out)


def test_parts_made_elsewhere_are_taken_and_never_touched(tmp_path: Path) -> None:
    key = "ab" + "0" * 62
    interrupted(tmp_path / "elsewhere")
    theirs = tmp_path / "elsewhere" / FOLDER / resume._FOLDS
    broken = tmp_path / "broken"
    (broken / key[:2]).mkdir(parents=True)
    (broken / key[:2] / f"{key}.json").write_bytes(b"half")
    with unfinished_run(tmp_path / "out", MINE) as run:
        own = run.cache
        run.take(extraction=None, folds=[broken, theirs])
        assert run.cache == own
        assert run.checkpoints.get(key) == {"fits": 1}
        assert run.checkpoints.damaged == 1
        run.take(extraction=tmp_path / "cache", folds=[])
        assert run.cache == tmp_path / "cache"
        assert run.checkpoints.get(key) is None
    assert (broken / key[:2] / f"{key}.json").read_bytes() == b"half"


def test_the_lock_is_free_after_a_refusal(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with pytest.raises(InputError):
        work(tmp_path, MINE | {"leak": "True"})
    FileLock(tmp_path / FOLDER / "lock").acquire(timeout=0).lock.release()


def test_a_file_system_without_locks_is_told_of(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(FileLock, "acquire", unknown)
    interrupted(tmp_path)
    assert work(tmp_path).resumed
    assert "the output folder cannot be locked" in caplog.text


def test_only_the_local_tracking_store_is_cleared(tmp_path: Path) -> None:
    interrupted(tmp_path)
    for name in ("mlflow.db", "mlflow.db.lock", "mlflow.db-journal", "mine.db"):
        (tmp_path / name).write_text("")
    (tmp_path / "mlflow-artifacts" / "1").mkdir(parents=True)
    with unfinished_run(tmp_path, MINE) as run:
        run.clear_tracking()
    assert {path.name for path in tmp_path.iterdir()} == {FOLDER, "tables", "mine.db"}
