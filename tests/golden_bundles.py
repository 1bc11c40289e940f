"""Models of every kind that can be delivered, fitted to simulated patients, and the golden bundles made of them.

The bundles in ``tests/golden`` were written once and stay as they are: what a hospital keeps must go on working. A new
protocol gets a folder of its own, made with ``PYTHONPATH=tests python tests/golden_bundles.py PROTOCOL``.
"""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scan_tables import MR, TEXTURES, charts
from scan_tables import features as several_scans
from scoring_examples import CLINICAL, RADIOMICS, content, training_table
from simulated_tables import draw_outcome
from sklearn.pipeline import Pipeline

from radiomics_crlm.config import FeatureSetConfig, load_endpoints, parse_config
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.design import InputSpec, build_predictors
from radiomics_crlm.modelling.frozen import FrozenModel, freeze
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.robustness import Ratings, Robustness
from radiomics_crlm.modelling.train import fit_final, pipeline_probability, pipeline_risk
from radiomics_crlm.provenance.versions import versions
from radiomics_crlm.scoring.bundle import (
    BundleContent,
    Extraction,
    describe_training,
    spoken_horizons,
    write_bundle,
)
from radiomics_crlm.scoring.intervals import interval_columns, interval_names
from radiomics_crlm.scoring.novelty import describe_novelty, out_of_distribution
from radiomics_crlm.scoring.reference import EventFreeBound, OutcomeSet, RefitBand, Uncertainty
from radiomics_crlm.scoring.shape import describe_shift

GOLDEN = Path(__file__).resolve().parent / "golden"
INPUTS = (*CLINICAL, *RADIOMICS)
_BINARY, _TIMES = "binary", "time_to_event"
LEARNERS = {
    **{f"{name}_{kind}": (name, kind)
       for name in ("ridge", "elastic_net", "xgboost", "random_forest", "late_fusion", "stacking")
       for kind in (_BINARY, _TIMES)},
    "fine_gray": ("fine_gray", _TIMES),
    "xgboost_aft": ("xgboost_aft", _TIMES),
}  # fmt: skip
OTHERS = ("clinical_alone", "selected", "stable", "blocks")
NAMES = (*LEARNERS, *OTHERS)
JUDGED = ("ridge_binary", "ridge_time_to_event", "xgboost_aft", "random_forest_time_to_event", "blocks")
"""Those of protocol 2, which hold what later patients and cohorts are judged by."""
ROWS = 14


@dataclass(frozen=True)
class Made:
    """A fitted pipeline, the description of its bundle, a table of patients to predict, and that of the training."""

    pipeline: Pipeline
    content: BundleContent
    table: pd.DataFrame
    training: pd.DataFrame

    @property
    def months(self) -> tuple[int, ...]:
        """Months for which the bundle has probabilities."""
        return self.content.horizons


@functools.cache
def made(name: str) -> Made:
    """The model of this name, fitted."""
    if name == "blocks":
        return _of_several_scans()
    learner, kind = LEARNERS.get(name, ("ridge", _BINARY if name == "selected" else _TIMES))
    inputs = CLINICAL if name == "clinical_alone" else INPUTS
    table = training_table(inputs, rows=120)
    more: dict[str, Any] = {}
    if name == "selected":
        more = {"select_k": 4}
    if name == "stable":
        more = {"robustness": Robustness(_ratings(table))}
    recipe = Recipe(
        "all", _columns(inputs), learner, kind, trees=12, rounds=(15, 25), depths=(2,), penalties=(1.0, 0.1), **more
    )
    hazard = np.log(table["cea_ng_ml"].fillna(20)) - 3 + table["largest_met_mm"].fillna(50) / 25 - 2
    pipeline = fit_final(
        table, draw_outcome(hazard.to_numpy(dtype=float), 0), recipe, endpoint="e", horizon=24.0, inner_folds=2, seed=0
    )
    described = content(
        inputs,
        horizon=24.0 if kind == _BINARY else None,
        name=f"golden_{name}",
        model=recipe.name,
        training=describe_training(table, inputs, events=60),
        versions=versions(),
    )
    return Made(pipeline, described, strange(training_table(inputs, rows=ROWS, seed=9)), table)


def strange(table: pd.DataFrame) -> pd.DataFrame:
    """The table, one patient of whom nothing is known and one far beyond all others among them."""
    numbers = [name for name, kind in table.dtypes.items() if kind == "float64"]
    table = table.reset_index(drop=True)
    table.loc[1, :] = None
    table.loc[2, numbers] = 1e5
    table.loc[3, numbers] = 0.0
    return table


def _columns(inputs: tuple[InputSpec, ...], scans: dict[str, str] | None = None) -> tuple[ColumnSpec, ...]:
    scans = scans or {}
    return tuple(
        ColumnSpec(s.name, s.kind, s.categories, s.log, block=s.source, scan=scans.get(s.name, "")) for s in inputs
    )


def _ratings(table: pd.DataFrame) -> Ratings:
    """Three measurements, of which those of the contrast scatter."""
    names = tuple(spec.name for spec in RADIOMICS)
    generator = np.random.default_rng(5)
    noise = generator.normal(size=(len(table), 3, len(names))) * np.array([0.0, 8.0, 0.0])
    noise[:, 0] = 0
    base = table[list(names)].to_numpy(dtype=float, copy=True)
    base[:, 0] = np.log1p(base[:, 0])
    return Ratings(table.index, ("original", "a", "b"), names, base[:, None, :] + noise)


def _of_several_scans() -> Made:
    """CT at restaging and its change since baseline, and MR, which some patients lack."""
    patients, endpoint = 60, load_endpoints()["conversion_restaging"]
    images = several_scans(patients, without={MR: 20}).assign(flags="")
    on_ct = {"columns": ["largest__*", "burden__*"], "timepoints": ["restaging", "delta"], "missing": "exclude"}
    on_mr = {"modality": "MR", "sequence": "hbp", "columns": ["largest__*"]}
    wanted = {"title": "both", "columns": ["cea_ng_ml"], "radiomics": [on_ct, on_mr]}
    chosen = parse_config(FeatureSetConfig, wanted, where="golden")
    found = build_predictors(
        chosen, clinical=charts(patients), features_patient=images, available_at={}, speaks_at="restaging"
    )
    recipe = Recipe("both", _columns(found.inputs, found.block_names()), "ridge", _BINARY, select_k=6)
    outcome = draw_outcome(np.nan_to_num(found.table["MR.hbp:" + TEXTURES[0]].to_numpy()), 1, competing=False)
    outcome["months"] += 12.0 * (outcome["event"] == 0)
    pipeline = fit_final(found.table, outcome, recipe, endpoint="e", horizon=12.0, inner_folds=3, seed=0)
    extractions = {
        str(block.scans): Extraction(profile="p", settings={}, settings_hash="0123456789abcdef", engine="e 1")
        for block in found.blocks
    }
    described = BundleContent(
        name="golden_blocks", title="CT and MR", endpoint="conversion_restaging", definition=endpoint,
        model=recipe.name, speaks_at="restaging", inputs=found.inputs, blocks=found.blocks, extractions=extractions,
        training=describe_training(found.table, found.inputs, events=30), horizons=(12,), versions=versions(),
    )  # fmt: skip
    return Made(pipeline, described, strange(found.table.iloc[:ROWS]), found.table)


def cells_of(table: pd.DataFrame) -> dict[str, list[Any]]:
    """A table as JSON: columns of numbers, truths and texts; unknown is null."""
    return {str(name): [None if pd.isna(cell) else _plain(cell) for cell in table[name]] for name in table}


def _plain(cell: Any) -> Any:
    return cell.item() if isinstance(cell, np.generic) else cell


def table_of(cells: dict[str, list[Any]], inputs: tuple[InputSpec, ...]) -> pd.DataFrame:
    """The table again."""
    kinds = {"number": "float64", "boolean": "boolean", "category": "str"}
    return pd.DataFrame({spec.name: pd.array(cells[spec.name], dtype=kinds[spec.kind]) for spec in inputs})


def judging(one: Made) -> BundleContent:
    """The description with what protocol 2 adds; the thresholds of the prediction sets are chosen by hand."""
    model, content = freeze(one.pipeline), one.content
    sets = tuple(OutcomeSet(months=m, threshold=0.55 + m / 1000, patients=100, covered=0.91) for m in one.months)
    bands = tuple(
        RefitBand(months=m, draws=50, smallest=12, centre=(-1.0, 0.0, 2.0), lower=(-0.5, -0.3, -0.7),
                  upper=(0.4, 0.35, 0.9))
        for m in one.months
    )  # fmt: skip
    bound = None
    if content.definition.kind == "time_to_event":
        bound = EventFreeBound(months=one.months, incidence=0.3, patients=100, covered=0.9)
    fields = dict(content) | {
        "uncertainty": Uncertainty(level=0.9, sets=sets, bound=bound, bands=bands),
        "novelty": describe_novelty(model, one.training, seed=0),
        "shift": describe_shift(one.training, content.inputs),
        "protocol": 2,
    }
    return BundleContent(**fields)


def judged(content: BundleContent, model: FrozenModel, table: pd.DataFrame) -> dict[str, list[Any]]:
    """What a bundle of protocol 2 says of its uncertainty and of patients unlike its training, as JSON."""
    spoken = spoken_horizons(content, model)
    risk, probability = model.risk(table), model.probability(table, spoken)
    found = interval_columns(content, model, table, risk, probability, spoken)
    cells = cells_of(pd.DataFrame({name: found[name] for name in interval_names(content)}))
    return cells | {"out_of_distribution": out_of_distribution(content, model, table).tolist()}


def write_golden(protocol: int, name: str) -> None:
    """Write the bundle of a model and, beside it, what the training pipeline predicts."""
    one, folder = made(name), GOLDEN / f"protocol_{protocol}" / name
    model, content = freeze(one.pipeline), one.content if protocol == 1 else judging(one)
    write_bundle(folder / "bundle", content, model)
    expected = {
        "inputs": cells_of(one.table),
        "risk": pipeline_risk(one.pipeline, one.table).tolist(),
        "months": list(one.months),
        "probability": pipeline_probability(one.pipeline, one.table, one.months).tolist(),
    }
    if protocol == 2:
        expected["judged"] = judged(content, model, one.table)
    text = json.dumps(expected, indent=1, allow_nan=False)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    number = int(sys.argv[1])
    for golden in NAMES if number == 1 else JUDGED:
        write_golden(number, golden)
