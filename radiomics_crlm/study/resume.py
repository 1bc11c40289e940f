"""An unfinished run in its out folder: whose it is, who works on it, and what of it is finished.

While a run is unfinished, its out folder holds a folder of this module. The same command goes on from there; when the
run is finished the folder goes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from radiomics_crlm.config import ExperimentConfig
from radiomics_crlm.errors import CrlmError, InputError
from radiomics_crlm.features.parts import engine
from radiomics_crlm.modelling.code_version import learner_code
from radiomics_crlm.provenance.files import read_json, write_json
from radiomics_crlm.provenance.locks import LOCK, alone
from radiomics_crlm.provenance.unfinished import remove_leftovers
from radiomics_crlm.provenance.versions import lock_fingerprint, versions
from radiomics_crlm.study.checkpoints import Checkpoints, digest

FOLDER = ".unfinished"
"""In the out folder, as long as the run is not finished."""
_RUN, _DATA, _FINISHED, _FOLDS = "run.json", "data.json", "finished", "folds"
_EXPECTED = "a new or empty folder, or the unfinished run of this very experiment"
_REMEDY = "name another folder, or remove it"
_WORDS = {
    "experiment": "another experiment file",
    "leak": "another choice about --allow-leak",
    "lock": "another lock of the libraries",
    "versions": "other versions of the program or its libraries",
    "engine": "another extraction engine",
    "learners": "other code of the learners",
}


class Unfinished:
    """A run that is being worked on.

    Attributes
    ----------
    checkpoints
        Its finished outer folds and explanations.
    cache
        Folder of its finished extraction.
    resumed
        Whether it goes on from where another process was stopped.
    """

    def __init__(self, out: Path, *, resumed: bool) -> None:
        self._out, self._folder, self.resumed = out, out / FOLDER, resumed
        self.checkpoints = Checkpoints(self._folder / _FOLDS)
        self.cache = self._folder / "extraction"

    def take(self, *, extraction: Path | None, folds: Sequence[Path]) -> None:
        """Use an extraction cache and outer folds that were made elsewhere (:mod:`radiomics_crlm.study.parts`)."""
        self.cache = self.cache if extraction is None else extraction
        self.checkpoints = Checkpoints(self._folder / _FOLDS, folds)

    def claim(self, data: Mapping[str, str]) -> None:
        """Bind the run to the hashes of its data; to be called when they are known, before the first fit.

        Raises
        ------
        InputError
            If they are not those with which it began.
        """
        path = self._folder / _DATA
        if not path.is_file():
            write_json(path, dict(data))
            return
        before = read_json(path, what="the record of the data")
        if changed := sorted(name for name in {*before, *data} if before.get(name) != data.get(name)):
            raise InputError(
                "the out folder holds an unfinished run on other data", expected=_EXPECTED,
                got=f"changes in {', '.join(changed)}", remedy=_REMEDY,
            )  # fmt: skip

    def clear_tracking(self) -> None:
        """Remove the tracking store of the out folder, in which a stopped process may have left half a run, or half of
        its tables. To be called before this process opens it.
        """
        for path in [*self._out.glob("mlflow.db*"), self._out / "mlflow-artifacts"]:
            _remove(path)

    def finish(self) -> None:
        """Say that the run is finished; what was kept for resuming it goes."""
        write_json(self._folder / _FINISHED, {})

    @property
    def finished(self) -> bool:
        """Whether the run is."""
        return (self._folder / _FINISHED).is_file()

    @property
    def idle(self) -> bool:
        """Whether nothing is worth keeping yet."""
        return not (self._folder / _DATA).is_file() and not any(p.is_file() for p in self.cache.rglob("*"))


def identity(experiment: ExperimentConfig, *, allow_leak: bool) -> dict[str, str]:
    """What makes two runs the same, but for the data: the experiment, and all that can change a number."""
    return {
        "name": experiment.name,
        "experiment": digest(experiment.model_dump(mode="json")),
        "leak": str(allow_leak),
        "lock": lock_fingerprint(),
        "versions": digest(versions()),
        "engine": engine(),
        "learners": learner_code(),
    }


@contextmanager
def unfinished_run(out: Path, mine: Mapping[str, str]) -> Iterator[Unfinished]:
    """Work on the run of an out folder, alone: a new one, or the one of the same identity that was stopped there.

    Parameters
    ----------
    out
        Made if it is missing.
    mine
        The :func:`identity` of the run.

    Raises
    ------
    InputError
        If the folder holds anything else - a finished run, the unfinished one of another experiment, other files - or
        another process works on it.
    """
    _refuse_foreign(out)
    folder = out / FOLDER
    with alone(folder):
        run = Unfinished(out, resumed=_enter(out, mine))
        try:
            yield run
        except CrlmError:
            if run.idle and not run.resumed:
                _remove(folder)
            raise
        if run.finished:
            _sweep(folder)
            _remove(folder)


def is_finished(out: Path) -> bool:
    """Whether a folder holds a finished run; what a process left of it that was killed at the very end goes."""
    if (out / FOLDER / _FINISHED).is_file():
        _remove(out / FOLDER)
    return (out / _RUN).is_file() and not (out / FOLDER).exists()


def _refuse_foreign(out: Path) -> None:
    """Refuse what is no folder of a run, before anything is made in it."""
    if not out.exists():
        return
    names = {path.name for path in out.iterdir()} if out.is_dir() else {""}
    if FOLDER in names and (out / FOLDER / _FINISHED).is_file():
        _remove(out / FOLDER)
        names.discard(FOLDER)
    if not names or FOLDER in names:
        return
    if _RUN in names:
        raise InputError("the out folder is not empty: it holds a finished run", expected=_EXPECTED, remedy=_REMEDY)
    raise InputError("the out folder is not empty", expected=_EXPECTED, remedy=_REMEDY)


def _enter(out: Path, mine: Mapping[str, str]) -> bool:
    """Whether the folder holds this run already; a new one is written down."""
    folder = out / FOLDER
    others = {path.name for path in out.iterdir()} - {FOLDER}
    if not (folder / _RUN).is_file():
        if others:
            raise InputError("the out folder is not empty", expected=_EXPECTED, remedy=_REMEDY)
        write_json(folder / _RUN, dict(mine))
        return False
    theirs = read_json(folder / _RUN, what="the record of the unfinished run")
    differ = [words for name, words in _WORDS.items() if theirs.get(name) != mine[name]]
    if not differ:
        remove_leftovers(out)
        return True
    if others or (folder / _DATA).is_file():
        raise InputError(
            "the out folder holds the unfinished run of another experiment", expected=_EXPECTED,
            got=f"{theirs.get('name', '')}: {', '.join(differ)}", remedy=_REMEDY,
        )  # fmt: skip
    # Nothing was fitted or written, and what was extracted is good for any experiment.
    write_json(folder / _RUN, dict(mine))
    return False


def _sweep(folder: Path) -> None:
    """Empty a folder but for the word that the run is finished, and the lock."""
    for path in folder.iterdir():
        if path.name not in (_FINISHED, LOCK):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
