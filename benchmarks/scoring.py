"""Batch scoring: `crlm score` against MLflow and shap on the same model.

The whole of `crlm score`: a CSV file of 18 clinical columns is read, typed and checked; two rules, flags,
probabilities and SHAP values are computed; Parquet, CSV and the summary are written. The workers of several processes
have been started before (one small table), as starting them takes seconds whatever the table.

The peers have the same scikit-learn pipeline, logged with ``mlflow.sklearn`` in a new store and loaded as a pyfunc,
and an explainer of shap that was made once: a loop over rows, and the whole table at once. They get typed rows, check
nothing, write nothing, and know neither rules nor flags.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import shap
from measuring import Comparison, Entry, Figure, Given, Timed, apart, named, timed
from sklearn.pipeline import Pipeline

from radiomics_crlm.config import load_endpoints
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.design import InputSpec, assemble
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final
from radiomics_crlm.schema import load_schema, parse_table
from radiomics_crlm.scoring.bundle import BundleContent, describe_training, write_bundle
from radiomics_crlm.study.score import score_folder

SEED, ENDPOINT, HORIZON = 20261121, "recurrence_24m", 24.0
RULES = ("fong_crs", "tbs2018")
INPUTS = (
    "age_years", "sex", "bmi_kg_m2", "primary_site", "primary_pt", "node_positive_primary", "synchronous_crlm",
    "dfi_months", "cea_ng_ml", "n_liver_mets", "largest_met_mm", "bilobar", "extrahepatic_status", "kras_status",
)  # fmt: skip
_KINDS: dict[str, Any] = {"int": "number", "float": "number", "bool": "boolean", "enum": "category"}
_TRAINING, _AT_ONCE = 200, 100_000


def simulated(rows: int, *, seed: int, first: int = 0) -> pd.DataFrame:
    """Clinical rows as text, one cell in eight unknown; of 100 rows one has a cell that breaks its rule."""
    rng = np.random.default_rng(seed)

    def some(cells: Any) -> np.ndarray:
        texts = np.asarray(cells).astype(str).astype(object)
        texts[rng.random(rows) < 1 / 8] = ""
        return texts

    table = {
        "patient_id": np.char.add("P", np.arange(first, first + rows).astype(str)).astype(object),
        "age_years": some(rng.uniform(30, 85, rows).round(1)),
        "sex": some(rng.choice(["male", "female"], rows)),
        "bmi_kg_m2": some(rng.uniform(18, 40, rows).round(1)),
        "ecog_ps": some(rng.integers(0, 3, rows)),
        "primary_diagnosis_date": some(np.datetime64("2015-01-01") + rng.integers(0, 2000, rows)),
        "primary_site": some(rng.choice(["right_colon", "left_colon", "rectum"], rows)),
        "primary_pt": some(rng.integers(1, 5, rows)),
        "node_positive_primary": some(rng.choice(["yes", "no"], rows)),
        "synchronous_crlm": some(rng.choice(["true", "false"], rows)),
        "dfi_months": some(rng.integers(0, 60, rows)),
        "cea_ng_ml": some(np.exp(rng.normal(3, 1.2, rows)).round(2)),
        "ca19_9_u_ml": some(np.exp(rng.normal(3, 1.2, rows)).round(1)),
        "n_liver_mets": some(rng.integers(1, 12, rows)),
        "largest_met_mm": some(rng.uniform(8, 90, rows).round(1)),
        "bilobar": some(rng.choice(["yes", "no"], rows)),
        "extrahepatic_status": some(rng.choice(["none", "resectable"], rows)),
        "kras_status": some(rng.choice(["wild_type", "mutant"], rows)),
    }
    table["n_liver_mets"][rng.random(rows) < 0.01] = "many"
    return pd.DataFrame(table).astype("str")


def write_cohort(folder: Path, rows: int, *, megabytes: float = 0.0) -> int:
    """A cohort folder of so many rows, or of so many megabytes; returns the rows."""
    folder.mkdir(parents=True)
    path, done = folder / "clinical.csv", 0
    while done < rows or (path.exists() and path.stat().st_size < megabytes * 1e6):
        count = _AT_ONCE if megabytes else min(_AT_ONCE, rows - done)
        part = simulated(count, seed=SEED + 1 + done, first=done)
        part.to_csv(path, index=False, mode="a", header=not done)
        done += count
    return done


def trained(learner: str, folder: Path) -> tuple[Pipeline, pd.DataFrame]:
    """A pipeline fitted to simulated patients, its bundle in a folder, and the rows of its training."""
    schema = load_schema("clinical")
    raw = simulated(_TRAINING, seed=SEED).replace({"n_liver_mets": {"many": "3"}})
    specs = [schema.columns[name] for name in INPUTS]
    inputs = tuple(
        InputSpec(s.name, "clinical", _KINDS[s.type], s.allowed, s.name == "cea_ng_ml", s.available_at) for s in specs
    )
    table = assemble(parse_table(raw, schema).table, None, inputs, None, speaks_at="preoperative")
    rng = np.random.default_rng(SEED)
    logits = np.nan_to_num(table["n_liver_mets"].to_numpy() - 6.0) / 2 + rng.normal(size=_TRAINING)
    event = (logits > 0).astype(int)
    outcome = make_outcome(event, np.where(event == 1, rng.uniform(1, 23, _TRAINING), 40.0))
    columns = tuple(ColumnSpec(s.name, s.kind, s.categories, s.log) for s in inputs)
    recipe = Recipe(f"clinical/{learner}", columns, learner, "binary")
    pipeline = fit_final(table, outcome, recipe, endpoint=ENDPOINT, horizon=HORIZON, inner_folds=3, seed=SEED)
    content = BundleContent(
        name="benchmark", title="Benchmark", endpoint=ENDPOINT, definition=load_endpoints()[ENDPOINT],
        model=f"clinical/{learner}", speaks_at="preoperative", inputs=inputs,
        training=describe_training(table, inputs, events=int(event.sum())), horizons=(int(HORIZON),), rules=RULES,
        versions={},
    )  # fmt: skip
    write_bundle(folder, content, freeze(pipeline))
    return pipeline, table


@dataclass(frozen=True)
class Scored:
    """Risks (n) and SHAP values (n x inputs) of the first scored rows."""

    risk: np.ndarray
    values: np.ndarray


def logged(pipeline: Pipeline, store: Path) -> str:
    """The pipeline in a new store of MLflow; where it lies."""
    store.mkdir(exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{store / 'mlflow.db'}")
    mlflow.create_experiment("plain", artifact_location=(store / "artefacts").as_uri())
    mlflow.set_experiment("plain")
    with mlflow.start_run():
        return str(mlflow.sklearn.log_model(pipeline, name="model", serialization_format="cloudpickle").model_uri)


def explain(pipeline: Pipeline, background: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """SHAP values of rows, by an explainer that is made here."""
    learner = pipeline[-1]
    if hasattr(learner, "booster_"):
        explainer = shap.TreeExplainer(learner.booster_)
    else:
        inputs = np.asarray(pipeline[:-1].transform(background))
        masker = shap.maskers.Independent(inputs, max_samples=len(inputs))
        explainer = shap.LinearExplainer((learner.coef_, learner.intercept_), masker)
    return lambda rows: np.asarray(explainer.shap_values(np.asarray(pipeline[:-1].transform(rows))))


def row_by_row(loaded: Any, shap_values: Callable[[pd.DataFrame], np.ndarray], table: pd.DataFrame) -> Timed:
    """Predict and explain one row after the other; seconds per 1,000 rows."""
    rows = [table.iloc[[position]] for position in range(len(table))]
    done = timed(lambda: [(float(np.ravel(loaded.predict(row))[0]), np.ravel(shap_values(row))) for row in rows])
    risk, values = zip(*done.values, strict=True)
    return Timed(done.seconds / len(table) * 1000, Scored(np.array(risk), np.array(values)))


def at_once(loaded: Any, shap_values: Callable[[pd.DataFrame], np.ndarray], table: pd.DataFrame, first: int) -> Timed:
    """Predict and explain the whole table; seconds per 1,000 rows, values of the first ones."""
    done = timed(lambda: (np.ravel(loaded.predict(table)), shap_values(table)))
    risk, values = done.values
    return Timed(done.seconds / len(table) * 1000, Scored(risk[:first], values[:first]))


def score(bundle: Path, cohort: Path, out: Path, *, jobs: int, attributions: bool) -> None:
    """The whole of ``crlm score``."""
    score_folder(bundle, cohort, out, jobs=jobs, progress=lambda *_: None, attributions=attributions)


def ours(folder: Path, outs: Iterator[int], rows: int, first: int) -> Timed:
    """The whole of ``crlm score`` in one process; seconds per 1,000 rows, values of the first scored ones."""
    out = folder / f"out{next(outs)}"
    done = timed(partial(score, folder / "bundle", folder / "cohort", out, jobs=1, attributions=True))
    scores = pq.read_table(out / "scores.parquet").to_pandas()
    attributed = pq.read_table(out / "attributions.parquet", columns=["attribution"]).to_pandas()
    risk = scores.loc[scores["status"] == "scored", "risk"].to_numpy()
    values = attributed["attribution"].to_numpy().reshape(len(risk), -1)
    return Timed(done.seconds / rows * 1000, Scored(risk[:first], values[:first]))


def scores_apart(own: Scored, peer: Scored) -> float:
    """Largest relative difference of risks, and of SHAP values relative to the largest of them; risks to 1e-9."""
    risks = apart(own.risk, peer.risk)
    largest = float(np.abs(peer.values).max())
    return max(risks if risks <= 1e-9 else np.inf, float(np.abs(own.values - peer.values).max()) / largest)


def typed(cohort: Path, scored: np.ndarray) -> pd.DataFrame:
    """The predictors of the rows that are scored, as a model gets them."""
    schema = load_schema("clinical")
    raw = pd.read_csv(cohort / "clinical.csv", dtype="str", keep_default_na=False)
    specs = [schema.columns[name] for name in INPUTS]
    inputs = [InputSpec(s.name, "clinical", _KINDS[s.type], s.allowed, False, s.available_at) for s in specs]
    return assemble(parse_table(raw, schema).table[scored], None, inputs, None, speaks_at="preoperative")


def against_peers(learner: str, folder: Path, rows: int, first: int) -> Iterator[Entry]:
    """Both ways of the peers on one model."""
    pipeline, background = trained(learner, folder / "bundle")
    write_cohort(folder / "cohort", rows)
    score(folder / "bundle", folder / "cohort", folder / "out", jobs=1, attributions=False)
    status = pq.read_table(folder / "out" / "scores.parquet", columns=["status"]).to_pandas()["status"]
    table = typed(folder / "cohort", (status == "scored").to_numpy())
    loaded, shap_values = mlflow.pyfunc.load_model(logged(pipeline, folder / "store")), explain(pipeline, background)
    mine = partial(ours, folder, count(), rows, first)
    peer = named("mlflow", "shap")
    work = f"`crlm score` with SHAP, {learner}, per 1,000 rows of a table of {rows:,}, 1 process"
    yield Comparison(
        "scoring", work, f"loop over rows, {peer}", mine, partial(row_by_row, loaded, shap_values, table[:first]),
        scores_apart, 1e-5, "the peer reads, checks and writes nothing", repeats=3, patience=20.0,
    )  # fmt: skip
    yield Comparison(
        "scoring", work, f"whole table at once, {peer}", mine, partial(at_once, loaded, shap_values, table, first),
        scores_apart, 1e-5, "the peer reads, checks and writes nothing, and gives no rules, flags or intervals",
        repeats=3,
    )  # fmt: skip


def throughput(folder: Path, rows: int, jobs: int) -> Iterator[Entry]:
    """Rows per second of the whole of it, by number of processes."""
    trained("ridge", folder / "bundle")
    write_cohort(folder / "cohort", rows)
    write_cohort(folder / "warm", min(rows, 60_000))
    for attributions, target in ((False, "50,000 rows/s"), (True, "500 rows/s")):
        for processes in dict.fromkeys((1, jobs)):
            yield partial(_rate, folder, rows, processes, attributions, target)


def _rate(folder: Path, rows: int, jobs: int, attributions: bool, target: str) -> Figure:
    label = f"{jobs}_{attributions}"
    score(folder / "bundle", folder / "warm", folder / f"warm_{label}", jobs=jobs, attributions=attributions)
    taken = []
    for repeat in range(3):
        out = folder / f"out_{label}_{repeat}"
        taken.append(
            timed(partial(score, folder / "bundle", folder / "cohort", out, jobs=jobs, attributions=attributions))
        )
    rate = rows / statistics.median(one.seconds for one in taken)
    what = f"whole of `crlm score`, {rows:,} rows, ridge, {'with' if attributions else 'without'} SHAP, {jobs} process"
    return Figure("scoring", what + "es" * (jobs > 1), f"{rate:,.0f} rows/s", target)


_ALONE = """
import sys
from pathlib import Path
from radiomics_crlm.parallel import peak_memory
from radiomics_crlm.study.score import score_folder
score_folder(*map(Path, sys.argv[1:4]), jobs=1, progress=lambda *_: None)
print(round(peak_memory() / 2**20))
"""


def memory(folder: Path, rows: int) -> Figure:
    """Peak memory of a process that scores so many rows."""
    write_cohort(folder / f"memory{rows}", rows)
    arguments = [folder / "bundle", folder / f"memory{rows}", folder / f"memory_out{rows}"]
    command = [sys.executable, "-c", _ALONE, *map(str, arguments)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return Figure("scoring", f"peak memory of `crlm score`, {rows:,} rows, 1 process", f"{said} MiB")


def entries(given: Given) -> Iterator[Entry]:
    """Scoring against peers, then rates and memory."""
    for learner in ("ridge",) if given.quick else ("ridge", "xgboost"):
        yield from against_peers(learner, given.folder / learner, *((500, 10) if given.quick else (20_000, 100)))
    whole = given.folder / "whole"
    yield from throughput(whole, 5_000 if given.quick else 200_000, given.jobs)
    yield from (partial(memory, whole, rows) for rows in ((5_000,) if given.quick else (20_000, 400_000)))
