"""How long a bundle takes to load: every golden one, the largest that the shipped settings make, and what MLflow needs.

Then what a fresh process needs in all, libraries included, to load one bundle and to score one patient.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from golden_bundles import GOLDEN
from measuring import Comparison, Entry, Figure, Given, named, seconds_text, timed
from scoring import logged, trained
from scoring_examples import CLINICAL, RADIOMICS, content, training_table
from simulated_tables import draw_outcome

from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.design import InputSpec
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final
from radiomics_crlm.scoring.bundle import BundleContent, describe_training, load_bundle, write_bundle

PATIENTS, FEATURES = 200, 400
_LARGEST: dict[str, dict[str, Any]] = {
    "ridge": {"penalties": (1.0,)},
    "xgboost": {"rounds": (150,), "depths": (2,)},
    "random_forest": {"leaves": (16,), "trees": 200},
}


def write_large(folder: Path, learner: str) -> None:
    """A bundle with 400 radiomic inputs and the largest trees that tuning may choose."""
    names = [f"largest__original_glcm_f{k}" for k in range(FEATURES)]
    radiomics = tuple(InputSpec(name, "radiomics", "number", (), False, "preoperative") for name in names)
    generator, clinical = np.random.default_rng(0), training_table(CLINICAL, rows=PATIENTS)
    values = pd.DataFrame(generator.normal(size=(PATIENTS, FEATURES)), index=clinical.index, columns=names)
    table, inputs = clinical.join(values), (*CLINICAL, *radiomics)
    columns = tuple(ColumnSpec(s.name, s.kind, s.categories, s.log, block=s.source) for s in inputs)
    recipe = Recipe("all", columns, learner, "time_to_event", fixed=True, max_correlation=1.0, **_LARGEST[learner])
    outcome = draw_outcome(values.iloc[:, :3].sum(axis=1).to_numpy(), 0)
    pipeline = fit_final(table, outcome, recipe, endpoint="e", horizon=None, inner_folds=2, seed=0)
    fields = dict(content((*CLINICAL, *RADIOMICS)))
    fields |= {"inputs": inputs, "training": describe_training(table, inputs, events=100)}
    write_bundle(folder, BundleContent(**fields), freeze(pipeline))


def fresh(*arguments: str) -> None:
    """A command in a process of its own."""
    call = "import sys; from radiomics_crlm.cli import main; sys.exit(main())"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", call, *arguments], check=True, capture_output=True, env=environment)


def longest(what: str, work: Callable[[], object], repeats: int, target: str = "") -> Figure:
    """Median and longest time."""
    taken = [timed(work).seconds for _ in range(repeats)]
    value = f"{seconds_text(statistics.median(taken))}, longest {seconds_text(max(taken))}"
    return Figure("bundle", what, value, target)


def slowest(bundles: list[Path]) -> Figure:
    """The golden bundle that takes longest."""
    for path in bundles:
        load_bundle(path)  # libraries and schemas
    medians = [statistics.median(timed(partial(load_bundle, path)).seconds for _ in range(5)) for path in bundles]
    what = f"load a bundle, the slowest of {len(bundles)} golden ones"
    return Figure("bundle", what, seconds_text(max(medians)), "at most 0.5 s")


def entries(given: Given) -> Iterator[Entry]:
    """Loading against MLflow, then single figures."""
    pipeline, _ = trained("ridge", given.folder / "ridge")
    uri = logged(pipeline, given.folder / "store")
    yield Comparison(
        "bundle", "load a model (ridge, 14 inputs), every hash checked", f"{named('mlflow')}, pyfunc of the pipeline",
        partial(load_bundle, given.folder / "ridge"), partial(mlflow.pyfunc.load_model, uri),
        "not compared: nothing is computed", note="the peer unpickles code", repeats=9,
    )  # fmt: skip
    yield partial(slowest, sorted(GOLDEN.glob("protocol_*/*/bundle")))
    for learner in ("ridge",) if given.quick else _LARGEST:
        path = given.folder / f"large_{learner}"
        write_large(path, learner)
        size = sum(file.stat().st_size for file in path.iterdir()) / 1e6
        yield partial(longest, f"load a large {learner}, {size:.1f} MB", partial(load_bundle, path), 9, "at most 0.5 s")
    golden = str(GOLDEN / "protocol_1" / "clinical_alone" / "bundle")
    cohort = given.folder / "cohort"
    cohort.mkdir()
    (cohort / "clinical.csv").write_text("patient_id,cea_ng_ml,largest_met_mm\nP1,12,30\n")
    call, outs = ("score", "--bundle", golden, "--cohort", str(cohort), "--jobs", "1", "--out"), count()
    score = partial(_score_one, call, given.folder, outs)
    yield partial(longest, "fresh process, `crlm score`, one patient", score, 3)
    yield partial(longest, "fresh process, `crlm bundle check`", partial(fresh, "bundle", "check", golden), 3)
    yield partial(longest, "fresh process, `crlm --help`", partial(fresh, "--help"), 5, "at most 0.4 s")


def _score_one(call: tuple[str, ...], folder: Path, outs: Iterator[int]) -> None:
    fresh(*call, str(folder / f"one{next(outs)}"))
