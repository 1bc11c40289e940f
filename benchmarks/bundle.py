"""How long a bundle takes to load: every golden one, and the largest that the shipped settings make.

    PYTHONPATH=tests python benchmarks/bundle.py [--repeats 9]

Prints the median and the longest time of `load_bundle` in a warm process (target: at most 0.5 s), then what a fresh
process needs in all, libraries included, to load one bundle and to score one patient with `crlm score`. On a busy
machine the time of the processor is the one to look at.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
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
from golden_bundles import GOLDEN
from scoring_examples import CLINICAL, RADIOMICS, content, training_table
from simulated_tables import draw_outcome

from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.design import InputSpec
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final
from radiomics_crlm.scoring.bundle import BundleContent, describe_training, load_bundle, write_bundle

PATIENTS, FEATURES = 200, 400
_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
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


def processor() -> float:
    """Processor time of this process and of those it waited for."""
    return sum(time_ for kind in _WHO for time_ in resource.getrusage(kind)[:2])


def seconds(work: Callable[[], object], repeats: int) -> list[tuple[float, float]]:
    """Time by the clock, and of the processor, of each of so many repetitions."""
    found = []
    for _ in range(repeats):
        start, used = time.perf_counter(), processor()
        work()
        found.append((time.perf_counter() - start, processor() - used))
    return found


def show(name: str, times: list[tuple[float, float]]) -> None:
    """One line of the report."""
    clock, used = zip(*times, strict=True)
    print(f"{name:50} median {statistics.median(clock):6.3f} s, longest {max(clock):6.3f} s", end="")
    print(f"; of the processor {statistics.median(used):6.3f} s")


def fresh(*arguments: str) -> Callable[[], object]:
    """A command in a process of its own."""
    call = "import sys; from radiomics_crlm.cli import main; sys.exit(main())"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return lambda: subprocess.run(
        [sys.executable, "-c", call, *arguments], check=True, capture_output=True, env=environment
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bundles = {str(p.relative_to(GOLDEN).parent): p for p in sorted(GOLDEN.glob("protocol_*/*/bundle"))}
        for learner in _LARGEST:
            write_large(folder / learner, learner)
            size = sum(path.stat().st_size for path in (folder / learner).iterdir())
            bundles[f"large {learner} ({size / 1e6:.1f} MB)"] = folder / learner
        for path in bundles.values():
            load_bundle(path)  # warm: libraries and schemas
        for name, path in bundles.items():
            show(name, seconds(lambda path=path: load_bundle(path), repeats))
        (folder / "cohort").mkdir()
        (folder / "cohort" / "clinical.csv").write_text("patient_id,cea_ng_ml,largest_met_mm\nP1,12,30\n")
        for name in ("clinical_alone", "xgboost_binary"):
            path = str(GOLDEN / "protocol_1" / name / "bundle")
            show(f"fresh process, crlm bundle check, {name}", seconds(fresh("bundle", "check", path), 3))
        path, outs = str(GOLDEN / "protocol_1" / "clinical_alone" / "bundle"), iter(range(9))
        score = ("score", "--bundle", path, "--cohort", str(folder / "cohort"), "--jobs", "1", "--out")
        show(
            "fresh process, crlm score, one patient", seconds(lambda: fresh(*score, str(folder / f"{next(outs)}"))(), 3)
        )
        show("fresh process, crlm --help", seconds(fresh("--help"), 3))


if __name__ == "__main__":
    main()
