"""The demonstration: a whole study on simulated patients, then a new cohort scored with what it delivered."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radiomics_crlm.config import ExperimentConfig, load_config
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.phantom.cohort import simulate_cohort
from radiomics_crlm.phantom.settings import SimulationConfig
from radiomics_crlm.provenance.files import write_text
from radiomics_crlm.provenance.unfinished import remove_leftovers
from radiomics_crlm.scoring.batch import ScoreSummary
from radiomics_crlm.study.checkpoints import digest
from radiomics_crlm.study.prepare import Progress
from radiomics_crlm.study.resume import identity, is_finished
from radiomics_crlm.study.run import StudyResult, result_of, run_experiment
from radiomics_crlm.study.score import score_folder
from radiomics_crlm.study.stages import extract_cohort_features

_MARK = ".crlm-demo"
_NEW_PATIENTS, _NEW_SEED = 12, 7


@dataclass(frozen=True)
class Demo:
    """The study, the folder of scores of the new cohort, and the account of each bundle that scored it."""

    study: StudyResult
    scores: Path
    accounts: Mapping[str, ScoreSummary]


def run_demo(experiment: Path, *, out: Path, jobs: int, progress: Progress) -> Demo:
    """Run the demo experiment and score a new simulated cohort in which one chart and one image are damaged.

    An earlier demo in ``out`` is replaced, and one that was stopped goes on; a folder that is none is refused.

    Raises
    ------
    ConfigError
        If ``out`` holds something that no demo made.
    """
    _claim(out, f"unfinished demo {digest(identity(load_config(ExperimentConfig, experiment), allow_leak=False))}\n")
    study = _study(experiment, out / "study", jobs, progress)
    cohort = out / "new_cohort"
    simulate_cohort(
        SimulationConfig(patients=_NEW_PATIENTS, seed=_NEW_SEED),
        cohort,
        jobs=jobs,
        on_progress=lambda done, n: progress("simulate new cohort", done, n),
    )
    _damage(cohort)
    extract_cohort_features(cohort, cohort, profile=None, settings=None, jobs=jobs, progress=progress)
    scores = out / "scores"
    accounts = {
        name: score_folder(bundle, cohort, scores / name, jobs=jobs, progress=progress)
        for name, bundle in study.bundles.items()
    }
    write_text(out / _MARK, "made by crlm demo\n")
    return Demo(study, scores, accounts)


def _claim(out: Path, mine: str) -> None:
    """Keep a demo of the same program and experiment that was stopped; clear away any other."""
    mark = out / _MARK
    if mark.is_file():
        if mark.read_text(encoding="utf-8", errors="replace") == mine:
            remove_leftovers(out)
            return
        for path in out.iterdir():  # the mark stays till last: half a demo is still one
            if path != mark:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("the out folder holds something that is no demo", remedy="name another folder")
    write_text(mark, mine)


def _study(experiment: Path, out: Path, jobs: int, progress: Progress) -> StudyResult:
    """The study, which may be finished already."""
    if is_finished(out):
        return result_of(out, card=out / "card.html", tracking_uri=f"sqlite:///{out.resolve() / 'mlflow.db'}")
    return run_experiment(experiment, out=out, jobs=jobs, progress=progress)


def _damage(cohort: Path) -> None:
    """Spoil the CEA of the first patient and cut the image of the second, as happens in real cohorts."""
    clinical = pd.read_csv(cohort / "clinical.csv", dtype="str", keep_default_na=False)
    clinical.loc[0, "cea_ng_ml"] = "not measured"
    write_text(cohort / "clinical.csv", clinical.to_csv(index=False, lineterminator="\n"))
    imaging = pd.read_csv(cohort / "imaging.csv", dtype="str")
    for image in imaging.loc[imaging["patient_id"] == clinical.loc[1, "patient_id"], "image"].unique():
        path = cohort / image
        path.write_bytes(path.read_bytes()[:5000])
