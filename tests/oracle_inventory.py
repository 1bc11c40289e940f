"""What is compared with an independent implementation, and what is not and why: the content of docs/oracles.md."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from importlib.metadata import version
from pathlib import Path

from oracle_comparison import Case, Record, case_of

_TESTS = Path(__file__).resolve().parent
_PACKAGE = _TESTS.parent / "radiomics_crlm"
PAGE = _TESTS.parent / "docs" / "oracles.md"
PACKAGES = (
    "combatlearn", "comprisk", "dcurves", "hazardous", "lifelines", "pingouin", "scikit-learn", "scikit-survival",
    "scipy", "statsmodels",
)  # fmt: skip
MODELLING = (
    "boosted", "boosting", "cox", "elastic", "forest", "fusion", "glassbox", "harmonisation", "lesion_learners",
    "linear", "log_time", "operating", "pseudo", "recalibration", "risk", "robustness", "sample_size", "selection",
    "transformers", "trees",
)  # fmt: skip
"""Modules of modelling that estimate; those of evaluation are all taken."""

_CHECK = "a check that refuses, no number"
_HOLDER = "holds numbers, computes none"
_TEXT = "words or levels, no statistic"
_TABLE = "arranges numbers that are compared above"
_XGBOOST = "xgboost itself; nested scores equal its own scikit-learn class: tests/oracle/test_plain_search.py"
_LESIONS = "xgboost itself; equal to the learner of patients with one lesion each: tests/unit/test_lesion_learners.py"
_FUSION = "mean of standardised ridge models, or ridge models stacked: tests/unit/test_fusion.py"
NOT_COMPARED = {
    "answer.Arm": _HOLDER,
    "answer.answer_table": _TABLE,
    "answer.discrimination": _TABLE,
    "answer.judge": _TEXT,
    "answer.permuted_account": _TABLE,
    "calibration.check_probability": _CHECK,
    "comparison.comparison_table": _TABLE,
    "comparison.folds_note": _TEXT,
    "decision.check_thresholds": _CHECK,
    "fold_intervals.FoldScores": _HOLDER,
    "incidence.Curve": _HOLDER,
    "incidence.RiskTable": _HOLDER,
    "outcome.check_outcome": _CHECK,
    "outcome.make_outcome": _CHECK,
    "outcome.outcome_of": _CHECK,
    "ranking.RankStatistic": _HOLDER,
    "ranking.RankTerm": _HOLDER,
    "reclassification.Reclassification": _HOLDER,
    "smooth_calibration.SmoothCalibration": _HOLDER,
    "subgroups.small_cell": _TEXT,
    "subgroups.subgroup_levels": _TEXT,
    "boosted.XGBoostAFT": _XGBOOST,
    "boosted.XGBoostCox": _XGBOOST,
    "boosted.XGBoostLogistic": _XGBOOST,
    "boosting.BoosterSettings": _HOLDER,
    "boosting.booster_from_json": "xgboost itself: tests/unit/test_boosting.py",
    "boosting.booster_to_json": "xgboost itself: tests/unit/test_boosting.py",
    "boosting.contributions": "xgboost itself: tests/unit/test_boosting.py",
    "boosting.margins": "xgboost itself: tests/unit/test_boosting.py",
    "boosting.train_aft_booster": _XGBOOST,
    "boosting.train_booster": _XGBOOST,
    "boosting.train_hazard_booster": _LESIONS,
    "cox.objective": "derivatives against differences: tests/unit/test_cox.py",
    "elastic.SmoothLoss": _HOLDER,
    "forest.check_follow_up": _CHECK,
    "fusion.LateFusionCox": _FUSION,
    "fusion.LateFusionLogistic": _FUSION,
    "fusion.StackingCox": _FUSION,
    "fusion.StackingLogistic": _FUSION,
    "glassbox.ExplainableBoosting": "interpret itself",
    "glassbox.require_interpret": _CHECK,
    "harmonisation.CombatState": _HOLDER,
    "harmonisation.Harmonisation": _HOLDER,
    "harmonisation.SiteTable": _HOLDER,
    "harmonisation.learned_sites": "counts patients: tests/unit/test_harmonisation.py",
    "lesion_learners.LesionLearner": "base class",
    "lesion_learners.LesionXGBoostCox": _LESIONS,
    "lesion_learners.LesionXGBoostLogistic": _LESIONS,
    "linear.AtHorizon": "base class",
    "linear.Hazard": "base class",
    "linear.LinearLearner": "base class",
    "linear.row_space": "changes no solution: tests/unit/test_estimators.py",
    "operating.CalibratedLearner": "applies a calibration that is compared above",
    "operating.Operating": _HOLDER,
    "operating.fit_calibrators": "one calibration per month",
    "operating.judge_thresholds": _TABLE,
    "operating.operate": _TABLE,
    "operating.recalibrated": "applies a calibration that is compared above",
    "robustness.Ratings": _HOLDER,
    "robustness.Robustness": _HOLDER,
    "robustness.StableFeatures": "limits of agreement.icc: tests/unit/test_modelling_robustness.py",
    "robustness.check_same_features": _CHECK,
    "robustness.ratings_of": _TABLE,
    "transformers.FeatureFilter": "a literal search: tests/unit/test_transformers.py",
    "transformers.SharedIndicatorImputer": "scikit-learn's imputer",
    "transformers.TableEncoder": "no statistic",
    "transformers.most_common_share": "counts: tests/unit/test_transformers.py",
    "transformers.non_redundant": "a literal search: tests/unit/test_transformers.py",
    "trees.spoken": "no statistic",
}
"""Public functions and classes without a comparison of their own, and the reason."""


def public_names() -> list[str]:
    """``module.name`` of all public functions and classes that estimate or judge."""
    files = sorted((_PACKAGE / "evaluation").glob("*.py")) + [_PACKAGE / "modelling" / f"{m}.py" for m in MODELLING]
    names = []
    for file in files:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                names.append(f"{file.stem}.{node.name}")
    return names


def comparisons() -> dict[str, Case]:
    """Tests (``file::function``) that compare, in the order of the files, and what they compare."""
    folder = _TESTS / "oracle"
    sys.path.insert(0, str(folder))
    try:
        found = {}
        for file in sorted(folder.glob("test_*.py")):
            if "import Compare, oracle" in file.read_text():
                module = importlib.import_module(file.stem)
                tests = [(name, test) for name, test in vars(module).items() if name.startswith("test_")]
                found |= {f"{file.name}::{name}": case_of(test) for name, test in tests}
        return {name: case for name, case in found.items() if case is not None}
    finally:
        sys.path.remove(str(folder))


def page(measured: dict[str, Record]) -> str:
    """docs/oracles.md from what was measured."""
    rows = [_row(name, case, f"{measured[name].data_sets} | {measured[name].largest:.1g}")
            for name, case in comparisons().items()]  # fmt: skip
    others = [f"| `{name}` | {reason} |" for name, reason in NOT_COMPARED.items()]
    return _PAGE.format(versions=", ".join(f"{name} {version(name)}" for name in PACKAGES),
                        rows="\n".join(rows), others="\n".join(others))  # fmt: skip


def expected_rows() -> list[str]:
    """Patterns of the rows that the page has to hold, whatever was measured."""
    number = r"(\d+ \| [0-9.e+-]+)"
    return [re.escape(_row(name, case, "@")).replace("@", number) for name, case in comparisons().items()]


def _row(test: str, case: Case, numbers: str) -> str:
    functions = ", ".join(f"`{name}`" for name in case.covers)
    file, _, name = test.partition("::")
    return f"| {case.metric} | {functions} | {case.against} | `{file}` `{name}` | {numbers} | {case.tolerance:g} |"


_PAGE = """# Independent implementations

Written by `python benchmarks/oracle_table.py > docs/oracles.md`, which runs the tests named here in their full form;
`tests/unit/test_oracle_inventory.py` fails if a public function of the evaluation or an estimator is missing, or if the
page is not that of the tests. Every comparison is made on random data sets of varied size, censoring, ties and
competing events, with fixed seeds. The largest difference is the largest absolute one over all data sets and all
settings of the test. 1e-8 is demanded of closed forms, 1e-4 of what is found by iteration. `make test` runs all of it,
on fewer data sets where the other implementation is slow; `make test-slow` runs the full form.

"Written plainly" is a transcription of the formulas in the test (`tests/plain_statistics.py`), pair by pair or patient
by patient, where no package computes the quantity under the same conventions.

Versions: {versions}.

| quantity | functions | compared with | test in `tests/oracle/` | data sets | largest difference | tolerance |
|---|---|---|---|---|---|---|
{rows}

## Without a comparison of their own

| function or class | why |
|---|---|
{others}
"""
