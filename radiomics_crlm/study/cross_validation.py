"""Outer folds of many models in one queue; what an interrupted run finished is taken from its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import pandas as pd

from radiomics_crlm.modelling.code_version import learner_code
from radiomics_crlm.modelling.outer import CvDesign, CvResult, FoldResult, FoldTask
from radiomics_crlm.modelling.train import fit_folds
from radiomics_crlm.provenance.versions import lock_fingerprint, versions
from radiomics_crlm.study.checkpoints import Checkpoints, digest

_TABLES = ("predictions", "tuning", "thresholds")


def cross_validate(
    designs: Sequence[CvDesign],
    *,
    models: Collection[int] = (),
    checkpoints: Checkpoints | None = None,
    jobs: int = 1,
    dask: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[CvResult]:
    """Cross-validate models, as `modelling.train.nested_cv` does one.

    Parameters
    ----------
    designs
        Checked models (`modelling.train.cv_design`).
    models
        Positions of those whose fitted models of the first repeat are wanted. Checkpoints hold tables only, so those
        folds are done again.
    checkpoints
        Where finished folds are kept, each as soon as it is done; None keeps nothing.
    jobs, dask
        Processes on this machine, or address of a Dask scheduler; without influence on the results.
    on_progress
        Called with (outer folds done, outer folds in all), those of checkpoints included.

    Raises
    ------
    CrlmError, ConfigError
        As `modelling.train.fit_folds`.
    """
    tasks = [task for position, design in enumerate(designs) for task in design.tasks(models=position in models)]
    keys = _keys(designs) if checkpoints is not None else []
    found: list[FoldResult | None] = [None] * len(tasks)
    if checkpoints is not None:
        found = [None if task.keep_model else _known(checkpoints, key) for task, key in zip(tasks, keys, strict=True)]
    left = [number for number, result in enumerate(found) if result is None]
    done = len(tasks) - len(left)
    if done and on_progress is not None:
        on_progress(done, len(tasks))

    def keep(position: int, result: FoldResult) -> None:
        nonlocal done
        if checkpoints is not None:
            content = {name: getattr(result, name) for name in (*_TABLES, "fits")}
            checkpoints.put(keys[left[position]], {**content, "fold": [result.repeat, result.fold]})
        done += 1
        if on_progress is not None:
            on_progress(done, len(tasks))

    if left:
        fitted = fit_folds([tasks[number] for number in left], jobs=jobs, dask=dask, on_done=keep)
        for number, result in zip(left, fitted, strict=True):
            found[number] = result
    whole = iter([result for result in found if result is not None])
    return [design.collect([next(whole) for _ in design.tasks()]) for design in designs]


def explanation_of(design: CvDesign, checkpoints: Checkpoints | None) -> dict[str, pd.DataFrame] | None:
    """The tables that explain a model, by name, if they were finished before."""
    return None if checkpoints is None else checkpoints.get(_explanation_key(design))


def keep_explanation(design: CvDesign, tables: Mapping[str, pd.DataFrame], checkpoints: Checkpoints | None) -> None:
    """Keep the tables that explain a model."""
    if checkpoints is not None:
        checkpoints.put(_explanation_key(design), tables)


def _explanation_key(design: CvDesign) -> str:
    return digest(["explanation", _shared(design), design.folds, design.endpoint])


def _keys(designs: Sequence[CvDesign]) -> list[str]:
    """Key of each outer fold; other repeats and other models do not enter it."""
    keys = []
    for design in designs:
        shared = digest(_shared(design))
        keys += [_key(shared, task) for task in design.tasks()]
    return keys


def _key(shared: str, task: FoldTask) -> str:
    return digest(["fold", shared, task.design.folds[task.repeat].to_numpy(), task.repeat, task.fold])


def _shared(design: CvDesign) -> list[object]:
    """What all folds of a model depend on."""
    program = [learner_code(), lock_fingerprint(), versions()]
    settings = [design.horizon, design.inner_folds, design.seed, design.forward]
    return [program, design.X, design.y, design.recipe, settings]


def _known(checkpoints: Checkpoints, key: str) -> FoldResult | None:
    kept = checkpoints.get(key)
    if kept is None:
        return None
    repeat, fold = kept["fold"]
    return FoldResult(repeat, fold, **{name: kept[name] for name in _TABLES}, fits=kept["fits"])
