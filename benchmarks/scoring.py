"""Rows per second of batch scoring: the whole of it, and against a plain loop over MLflow and shap on the same model.

    python benchmarks/scoring.py [--rows 200000] [--jobs 2] [--repeats 3] [--plain 100] [--megabytes 0]

The whole of ``crlm score``: a CSV file of 18 clinical columns is read, typed and checked; two rules, flags,
probabilities (and SHAP values) are computed; Parquet, CSV and the summary are written. The workers of several processes
have been started before (one small table), as starting them takes seconds whatever the table. Rows per second of
processor time of this process say what a busy machine hides.

The plain loop has the same scikit-learn pipeline, logged with ``mlflow.sklearn`` in a new store and loaded as a pyfunc:
one row after the other is predicted and explained by an explainer of shap that was made once. It reads no file, checks
nothing, and knows neither rules nor flags. Its risks must equal ours to 1e-9, its SHAP values to 1e-5.

``--megabytes`` also scores a table of that size in a process of its own, and reports its peak memory.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
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


def plain_loop(pipeline: Pipeline, table: pd.DataFrame, background: pd.DataFrame, store: Path) -> Callable[[], Any]:
    """One row after the other: predict of the pyfunc, SHAP values of shap."""
    import mlflow
    import shap

    mlflow.set_tracking_uri(f"sqlite:///{store / 'mlflow.db'}")
    mlflow.create_experiment("plain", artifact_location=(store / "artefacts").as_uri())
    mlflow.set_experiment("plain")
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(pipeline, name="model", serialization_format="cloudpickle")
    loaded = mlflow.pyfunc.load_model(logged.model_uri)
    learner = pipeline[-1]
    if hasattr(learner, "booster_"):
        explainer = shap.TreeExplainer(learner.booster_)
    else:
        inputs = np.asarray(pipeline[:-1].transform(background))
        masker = shap.maskers.Independent(inputs, max_samples=len(inputs))
        explainer = shap.LinearExplainer((learner.coef_, learner.intercept_), masker)
    rows = [table.iloc[[position]] for position in range(len(table))]

    def work() -> tuple[np.ndarray, np.ndarray]:
        risk = [float(np.ravel(loaded.predict(row))[0]) for row in rows]
        values = [np.ravel(explainer.shap_values(np.asarray(pipeline[:-1].transform(row)))) for row in rows]
        return np.array(risk), np.array(values)

    return work


def score(bundle: Path, cohort: Path, out: Path, *, jobs: int, attributions: bool) -> None:
    """The whole of ``crlm score``."""
    score_folder(bundle, cohort, out, jobs=jobs, progress=lambda *_: None, attributions=attributions)


def median_seconds(work: Callable[[int], object], repeats: int) -> float:
    """Median wall time; the work gets the number of the repeat."""
    taken = []
    for repeat in range(repeats):
        start = time.perf_counter()
        work(repeat)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def compare(learner: str, folder: Path, plain_rows: int, ours_rows: int, repeats: int) -> str:
    """A line of the table: both ways on the same model."""
    pipeline, background = trained(learner, folder / "bundle")
    few, many = folder / "few", folder / "many"
    write_cohort(few, plain_rows)
    write_cohort(many, ours_rows)
    score(folder / "bundle", few, folder / "few_out", jobs=1, attributions=True)
    scores = pq.read_table(folder / "few_out" / "scores.parquet").to_pandas()
    rows = (scores["status"] == "scored").to_numpy()
    typed = parse_table(pd.read_csv(few / "clinical.csv", dtype="str", keep_default_na=False), load_schema("clinical"))
    inputs = [InputSpec(n, "clinical", _KINDS[s.type], s.allowed, False, s.available_at) for n, s in _specs().items()]
    table = assemble(typed.table[rows], None, inputs, None, speaks_at="preoperative")
    work = plain_loop(pipeline, table, background, folder)
    risk, values = work()
    attributed = pq.read_table(folder / "few_out" / "attributions.parquet").to_pandas()
    ours = attributed["attribution"].to_numpy().reshape(values.shape)
    apart = float(np.abs(risk - scores["risk"][rows].to_numpy()).max()), float(np.abs(values - ours).max())
    if apart[0] > 1e-9 or apart[1] > 1e-5:
        raise SystemExit(f"{learner}: the ways differ: risk by {apart[0]:.1e}, SHAP values by {apart[1]:.1e}")
    plain = len(table) / median_seconds(lambda _: work(), repeats)
    taken = median_seconds(
        lambda k: score(folder / "bundle", many, folder / f"many_out{k}", jobs=1, attributions=True), repeats
    )
    rate = ours_rows / taken
    return f"{learner:14} {plain:12.0f} {rate:12.0f} {rate / plain:8.0f}x {apart[0]:12.1e} {apart[1]:12.1e}"


def _specs() -> dict[str, Any]:
    return {name: load_schema("clinical").columns[name] for name in INPUTS}


def throughput(folder: Path, rows: int, jobs: int, repeats: int) -> list[str]:
    """Lines of the table: the whole of it, by number of processes."""
    trained("ridge", folder / "bundle")
    cohort = folder / "cohort"
    write_cohort(cohort, rows)
    warm = folder / "warm"
    write_cohort(warm, 60_000)
    lines = []
    for attributions in (False, True):
        for processes in dict.fromkeys((1, jobs)):
            label = f"{processes}_{attributions}"
            score(folder / "bundle", warm, folder / f"warm_{label}", jobs=processes, attributions=attributions)

            def work(k: int, p: int = processes, a: bool = attributions) -> None:
                score(folder / "bundle", cohort, folder / f"out_{p}_{a}_{k}", jobs=p, attributions=a)

            began = time.process_time()
            rate = rows / median_seconds(work, repeats)
            own = f"{rows * repeats / (time.process_time() - began):12.0f}" if processes == 1 else ""
            lines.append(f"{'with' if attributions else 'without':8} {processes:10} {rate:12.0f} {own}")
    return lines


_ALONE = """
import sys, time
from pathlib import Path
from radiomics_crlm.parallel import peak_memory
from radiomics_crlm.study.score import score_folder
began = time.monotonic()
done = score_folder(*map(Path, sys.argv[1:4]), jobs=int(sys.argv[4]), progress=lambda *_: None)
taken = time.monotonic() - began
print(f"{done.rows} rows, {taken:.0f} s, {done.rows / taken:.0f} rows/s, peak memory {peak_memory() / 2**20:.0f} MiB")
"""


def memory(folder: Path, megabytes: float, jobs: int) -> list[str]:
    """Peak memory of the process that reads and writes, for a small table and a large one."""
    trained("ridge", folder / "bundle")
    lines = []
    for size in (10.0, megabytes):
        cohort = folder / f"cohort{size:.0f}"
        write_cohort(cohort, 1, megabytes=size)
        arguments = [folder / "bundle", cohort, folder / f"out{size:.0f}", jobs]
        command = [sys.executable, "-c", _ALONE, *map(str, arguments)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        lines.append(f"{size:8.0f} MB: {said}")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plain", type=int, default=100, help="rows of the plain loop")
    parser.add_argument("--megabytes", type=float, default=0.0, help="size of a table whose memory is measured")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"whole of 'crlm score', {asked.rows} rows of 18 columns, ridge, median of {asked.repeats}")
        print(f"{'SHAP':8} {'processes':>10} {'rows/s':>12} {'rows/CPU s':>12}")
        for line in throughput(folder / "whole", asked.rows, asked.jobs, asked.repeats):
            print(line, flush=True)
        print(f"\nwith SHAP values, one process: a plain loop over {asked.plain} rows, and 'crlm score'")
        heads = ("plain rows/s", "ours rows/s", "ratio", "risk apart", "SHAP apart")
        print(f"{'learner':14} {heads[0]:>12} {heads[1]:>12} {heads[2]:>9} {heads[3]:>12} {heads[4]:>12}")
        for learner in ("ridge", "xgboost"):
            print(compare(learner, folder / learner, asked.plain, asked.rows, asked.repeats), flush=True)
        if asked.megabytes:
            print("\nmemory")
            for line in memory(folder / "memory", asked.megabytes, asked.jobs):
                print(line, flush=True)


if __name__ == "__main__":
    main()
