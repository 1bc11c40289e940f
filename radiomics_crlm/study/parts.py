"""Parts of a study made by commands of their own: its cohort with the features, and the outer folds of one model.

A run that is given them does not do them again, and comes out the same to the byte. So a build system (DVC, make) can
spread a study over stages, and redo only what a change touches. What is reused is found by the content that decides it,
never by its name: a part of another experiment is of no use, and does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from radiomics_crlm.config import ExperimentConfig, SimulatedSource
from radiomics_crlm.errors import ConfigError, CrlmError, InputError
from radiomics_crlm.provenance.files import read_json, write_json
from radiomics_crlm.provenance.unfinished import remove_leftovers
from radiomics_crlm.provenance.versions import versions
from radiomics_crlm.study.checkpoints import Checkpoints, digest
from radiomics_crlm.study.models import check_designs, fold_results
from radiomics_crlm.study.plans import Plan, plan_models
from radiomics_crlm.study.prepare import Prepared, Progress, prepare

_RECORD, _COHORT, _EXTRACTION, _FOLDS = "part.json", "cohort", "extraction", "folds"
# In a folder whose part is not finished: which part it will be.
_UNFINISHED = ".unfinished.json"


@dataclass(frozen=True)
class Parts:
    """Where finished parts lie: a simulated cohort, an extraction cache, and outer folds."""

    cohort: Path | None = None
    extraction: Path | None = None
    folds: tuple[Path, ...] = ()


def find_parts(folders: Sequence[Path], experiment: ExperimentConfig) -> Parts:
    """The parts in folders that :func:`make_cohort` and :func:`make_folds` have filled.

    Raises
    ------
    InputError
        If a folder holds no part, or two hold a cohort, or a simulated cohort is not that of the experiment.
    """
    cohorts, folds = [], []
    for folder in folders:
        record = read_json(folder / _RECORD, what="the record of a part") if (folder / _RECORD).is_file() else {}
        if record.get("kind") == _FOLDS:
            folds.append(folder / _FOLDS)
        elif record.get("kind") == _COHORT:
            cohorts.append(folder)
            _refuse_other_cohort(folder, str(record.get("cohort")), experiment)
        else:
            raise InputError(
                "the folder holds no part of a study", where=folder.name, remedy="make it with 'crlm part'"
            )
    if len(cohorts) > 1:
        raise InputError("several folders hold a cohort", expected="one", got=", ".join(f.name for f in cohorts))
    if not cohorts:
        return Parts(folds=tuple(folds))
    simulated = isinstance(experiment.cohort, SimulatedSource)
    return Parts(cohorts[0] / _COHORT if simulated else None, cohorts[0] / _EXTRACTION, tuple(folds))


def make_cohort(
    experiment: ExperimentConfig, *, out: Path, data: Path | None, jobs: int, dask: str | None, progress: Progress
) -> Prepared:
    """Simulate the cohort, if it is a simulated one, and extract its features; what was stopped goes on.

    Parameters
    ----------
    experiment
        Checked experiment.
    out
        New or empty folder, or one in which this part was stopped. Filled with ``cohort`` (simulated patients) and
        ``extraction`` (a cache of features).
    data, jobs, dask, progress
        As in :func:`radiomics_crlm.study.run.run_experiment`.

    Raises
    ------
    InputError
        If the folder holds anything else, or the data are unusable as a whole.
    """
    with _filling(out, experiment, _COHORT):
        prepared = prepare(
            experiment, data=data, out=out, jobs=jobs, dask=dask, cache=out / _EXTRACTION, progress=progress
        )
        write_json(out / _RECORD, {"kind": _COHORT, "cohort": _identity(experiment)})
    return prepared


def make_folds(
    experiment: ExperimentConfig,
    model: str,
    *,
    out: Path,
    parts: Parts,
    data: Path | None,
    jobs: int,
    dask: str | None,
    progress: Progress,
) -> Plan:
    """Cross-validate one model, and explain it if it is delivered; what was stopped goes on.

    Parameters
    ----------
    experiment
        Checked experiment.
    model
        ``ENDPOINT/FEATURE_SET/LEARNER``.
    out
        New or empty folder, or one in which this part was stopped. Filled with ``folds``.
    parts
        Where the cohort and its features are.
    data, jobs, dask, progress
        As in :func:`radiomics_crlm.study.run.run_experiment`.

    Returns
    -------
    The model that was cross-validated.

    Raises
    ------
    ConfigError
        If the experiment has no such model, or its simulated cohort is not among the parts.
    InputError
        If the folder holds anything else, or the model cannot be fitted on these data.
    """
    names = [
        f"{e}/{s}/{learner}"
        for e in experiment.endpoints
        for s in experiment.feature_sets
        for learner in experiment.learners
    ]
    if model not in names:
        raise ConfigError("the experiment has no such model", expected=", ".join(names), got=model)
    if isinstance(experiment.cohort, SimulatedSource) and parts.cohort is None:
        raise ConfigError(
            "the simulated cohort is not among the parts", remedy="make it with 'crlm part', name it with --part"
        )
    with _filling(out, experiment, f"{_FOLDS} of {model}"):
        prepared = prepare(
            experiment,
            data=data,
            out=out,
            jobs=jobs,
            dask=dask,
            cache=parts.extraction,
            made=parts.cohort,
            progress=progress,
        )
        plans = plan_models(experiment, prepared, allow_leak=False)
        plan = next(p for p in plans if f"{p.endpoint}/{p.name}" == model)
        check_designs(experiment, prepared, [plan])
        fold_results(
            experiment, prepared, [plan], jobs=jobs, dask=dask, checkpoints=Checkpoints(out / _FOLDS), progress=progress
        )
        write_json(out / _RECORD, {"kind": _FOLDS, "model": model})
    return plan


def _identity(experiment: ExperimentConfig) -> str:
    """What decides a simulated cohort."""
    return digest([experiment.cohort.model_dump(mode="json"), versions()])


def _refuse_other_cohort(folder: Path, found: str, experiment: ExperimentConfig) -> None:
    if isinstance(experiment.cohort, SimulatedSource) and found != _identity(experiment):
        raise InputError(
            "the folder holds the simulated cohort of another experiment, or of another version of the program",
            where=folder.name,
            remedy="make it again with 'crlm part'",
        )


@contextmanager
def _filling(out: Path, experiment: ExperimentConfig, kind: str) -> Iterator[None]:
    """Fill a new or empty folder, or go on in one where this very part was stopped; refuse any other."""
    mine = {"kind": kind, "experiment": digest([experiment.model_dump(mode="json"), versions()])}
    mark = out / _UNFINISHED
    if mark.is_file():
        if dict(read_json(mark, what="the record of an unfinished part")) != mine:
            raise InputError("the out folder holds another unfinished part", remedy="name another folder, or remove it")
        remove_leftovers(out)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("the out folder is not empty", expected="a new or empty folder", remedy="name another one")
    write_json(mark, mine)
    try:
        yield
    except CrlmError:
        if {path.name for path in out.iterdir()} == {_UNFINISHED}:
            mark.unlink()
        raise
    mark.unlink()
