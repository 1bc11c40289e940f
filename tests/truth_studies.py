"""Simulated studies in which it is known whether radiomics adds anything: does the answer say so?

Each study is cross-validated, evaluated and answered by the classes that a study of the program uses. Only the cohort
is a table drawn at random instead of scans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.cohort.splits import draw_folds, outcome_status
from radiomics_crlm.evaluation.answer import ARMS, Arm, answer_table
from radiomics_crlm.evaluation.outcome import Kind
from radiomics_crlm.evaluation.summary import evaluate_predictions
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import nested_cv
from radiomics_crlm.report.verdicts import answer_sentence
from radiomics_crlm.study.answer import exchanged

PATIENTS, FOLDS, REPEATS, INNER = 350, 5, 2, 2
EFFECT = 1.1
"""Log hazard ratio per standard deviation of the texture, where it has an effect."""
REPLICATES, FEWER = 100, 40
HORIZON = 24.0
_DRAWS = 20  # of the bootstrap, which does not decide here

CLINICAL = ("age_years", "cea_ng_ml", "n_liver_mets", "largest_met_mm", "node_positive_primary")
RADIOMICS = tuple(f"{block}_{number}" for block in ("size", "texture", "noise") for number in range(8))
COLUMNS = (
    *(ColumnSpec(name, "boolean" if name.startswith("node") else "number", log=name == "cea_ng_ml", keep=True)
      for name in CLINICAL),
    *(ColumnSpec(name, block="radiomics") for name in RADIOMICS),
)  # fmt: skip


def cohort(effect: float, seed: int, n: int = PATIENTS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictors and outcomes (``patient_id, endpoint, event, months``) of n patients.

    Radiomic columns come in three blocks of eight correlated ones: of the size of the largest metastasis, which the
    chart knows too; of a texture whose log hazard ratio is ``effect``; and of nothing. Some patients die first, some
    leave early; 8 % of CEA and of radiomics are missing.
    """
    generator = np.random.default_rng([20_260, seed])
    patients = pd.Index([f"P{i:04d}" for i in range(n)], name="patient_id")
    z = generator.normal(size=(n, 7))
    age, cea, mets, size, texture, other, _ = z.T
    node = generator.random(n) < 0.5
    chart = {
        "age_years": 62 + 10 * age,
        "cea_ng_ml": np.exp(2 + cea),
        "n_liver_mets": 1 + np.floor(np.exp(0.8 * mets)),
        "largest_met_mm": 30 * np.exp(0.5 * size),
        "node_positive_primary": pd.array(node, dtype="boolean"),
    }
    latent = {"size": size, "texture": texture, "noise": other}
    features = {name: latent[name.split("_")[0]] + 0.7 * generator.normal(size=n) for name in RADIOMICS}
    table = pd.DataFrame(chart | features, index=patients)
    table.loc[generator.random(n) < 0.08, "cea_ng_ml"] = np.nan
    table.loc[generator.random(n) < 0.08, list(RADIOMICS)] = np.nan
    hazard = 0.3 * cea + 0.3 * mets + 0.3 * size + 0.4 * node + effect * texture
    recurs, dies = generator.exponential(30 * np.exp(-hazard)), generator.exponential(150, n)
    leaves = generator.uniform(12, 72, n)
    months = np.minimum(np.minimum(recurs, dies), leaves)
    event = np.where(months == recurs, 1, np.where(months == dies, 2, 0))
    outcome = pd.DataFrame({"patient_id": patients, "endpoint": "recurrence", "event": event, "months": months})
    return table, outcome


def study(
    effect: float, seed: int, *, kind: Kind = "time_to_event", control: bool = False, n: int = PATIENTS
) -> pd.DataFrame:
    """Table ``answers`` of one simulated study: clinical and combined ridge models, and the negative control."""
    table, outcome = cohort(effect, seed, n)
    folds = draw_folds(outcome_status(list(table.index), {"e": outcome}), folds=FOLDS, repeats=REPEATS, seed=seed)
    named: dict[str, tuple[pd.DataFrame, tuple[ColumnSpec, ...], int | None]] = {
        "clinical": (table, COLUMNS[: len(CLINICAL)], None),
        "combined": (table, COLUMNS, 12),
    }
    if control:
        named["negative_control"] = (exchanged(table, RADIOMICS, seed=seed), COLUMNS, 12)
    horizon = HORIZON if kind == "binary" else None
    parts = []
    for name, (X, columns, chosen) in named.items():
        recipe = Recipe(name, columns, "ridge", kind, select_k=chosen, seed=seed)
        result = nested_cv(
            X[[column.name for column in columns]],
            outcome.set_index("patient_id")[["event", "months"]],
            folds,
            recipe,
            endpoint="recurrence",
            horizon=horizon,
            inner_folds=INNER,
            seed=seed,
        )
        parts.append(result.predictions)
    metrics, comparisons = evaluate_predictions(
        pd.concat(parts, ignore_index=True), outcome, folds, endpoint="recurrence", horizon=horizon, kind=kind,
        seed=seed, draws=_DRAWS,
    )  # fmt: skip
    arms = {arm: Arm(f"{arm}/ridge" if arm in named else "", "not simulated") for arm in ARMS}
    metric = "auc" if kind == "binary" else "c_index"
    return answer_table(metrics, comparisons, None, endpoint="recurrence", metric=metric, arms=arms)


@dataclass(frozen=True)
class Truth:
    """What the answers of many studies of one truth say."""

    name: str
    clinical: float
    combined: float
    difference: float
    width: float
    verdicts: dict[str, int]
    control: dict[str, int]
    sentences: tuple[str, ...]

    @property
    def studies(self) -> int:
        """Number of studies."""
        return sum(self.verdicts.values())

    def line(self) -> str:
        """A row of the table."""
        counts = " | ".join(str(self.verdicts.get(verdict, 0)) for verdict in ("adds", "no_evidence", "worse"))
        control = f"{self.control.get('adds', 0)} of {sum(self.control.values())}" if self.control else "–"
        numbers = f"{self.clinical:.3f} | {self.combined:.3f} | {self.difference:+.3f} | {self.width:.3f}"
        return f"| {self.name} | {self.studies} | {numbers} | {counts} | {control} |"


def studies(name: str, effect: float, *, number: int = REPLICATES, control: bool = False, **settings: Any) -> Truth:
    """Many studies of one truth, seeds 0, 1, ..."""
    answers = [study(effect, seed, control=control, **settings).set_index("arm") for seed in range(number)]
    combined = pd.DataFrame([table.loc["combined"] for table in answers])
    others = [str(table.loc["negative_control", "verdict"]) for table in answers] if control else []
    return Truth(
        name,
        float(np.mean([table.loc["clinical", "estimate"] for table in answers])),
        float(combined["estimate"].mean()),
        float(combined["difference"].mean()),
        float((combined["difference_upper"] - combined["difference_lower"]).mean()),
        {str(k): int(v) for k, v in combined["verdict"].value_counts().items()},
        {verdict: others.count(verdict) for verdict in sorted(set(others))},
        tuple(answer_sentence(table.reset_index().to_dict("records")) for table in answers),
    )
