"""Facts on results: what the tables of the evaluation prove."""

from __future__ import annotations

import pandas as pd

from radiomics_crlm.report.checklists.evidence import Fact, Pointer, Sources, yes
from radiomics_crlm.report.wording import METRIC_TITLES, listed

_DISCRIMINATION = ("c_index", "auc")
_CALIBRATION = ("calibration_slope", "calibration_intercept", "observed_expected")
_LIMITS = ["estimate", "lower", "upper"]


def _known(table: pd.DataFrame | None, metrics: tuple[str, ...]) -> list[str]:
    """Those of the metrics that have an estimate with both limits."""
    if table is None:
        return []
    whole = table.loc[table[_LIMITS].notna().all(axis=1), "metric"]
    return [name for name in metrics if (whole == name).any()]


def _found(run: Sources, metrics: tuple[str, ...]) -> list[Pointer]:
    names = _known(run.table("metrics"), metrics)
    shows = f"{listed(METRIC_TITLES[name] for name in names)} with 95 % intervals"
    return [run.at_table("metrics", ["metric", *_LIMITS], shows)] if names else []


def intervals(run: Sources) -> Fact | None:
    """Discrimination with intervals by resampling."""
    found = _found(run, _DISCRIMINATION)
    draws = run.record("experiment.design.bootstrap_draws")
    if not found or not draws:
        return None
    return yes(*found, run.at_record("experiment.design.bootstrap_draws", f"{draws} bootstrap draws of patients"))


def calibration(run: Sources) -> Fact | None:
    """Calibration with intervals by resampling, and curves."""
    found = _found(run, _CALIBRATION)
    if not found:
        return None
    if run.table("calibration_curves") is not None:
        found.append(run.at_table("calibration_curves", ["predicted", "observed"], "smooth calibration curves"))
    return yes(*found)


def net_benefit(run: Sources) -> Fact | None:
    """Decision curves."""
    if run.table("decision_curves") is None:
        return None
    return yes(run.at_table("decision_curves", ["threshold", "net_benefit"], "decision curves"))


def performance(run: Sources) -> Fact | None:
    """Discrimination, calibration and net benefit, all three."""
    parts = [intervals(run), calibration(run), net_benefit(run)]
    return yes(*(p for part in parts if part for p in part.evidence)) if all(parts) else None


def subgroups(run: Sources) -> Fact | None:
    """Performance in subgroups that the experiment names."""
    if run.table("subgroups") is None:
        return None
    return yes(
        run.at_table("subgroups", ["column", "level", *_LIMITS], "performance in subgroups"),
        run.at_record("experiment.subgroups", "subgroups, named in the experiment"),
    )


def performance_in_subgroups(run: Sources) -> Fact | None:
    """Performance with intervals, in subgroups too."""
    whole, parts = intervals(run), subgroups(run)
    return yes(*whole.evidence, *parts.evidence) if whole and parts else None


def compared(run: Sources) -> Fact | None:
    """Paired differences with intervals, corrected for their number."""
    table = run.table("comparisons")
    if table is None or table["p_holm"].isna().all():
        return None
    shows = "paired differences with intervals, corrected for their number (Holm)"
    return yes(run.at_table("comparisons", ["difference", "lower", "upper", "p_holm"], shows))


def _against(run: Sources, references: set[str], shows: str) -> Fact | None:
    table = run.table("comparisons")
    if table is None:
        return None
    models = table["model"].astype(str).str.contains("/")
    other = table["reference"].astype(str).str.partition("/")[0].isin(references)
    if not (models & other & table["lower"].notna()).any():
        return None
    return yes(run.at_table("comparisons", ["model", "reference", "difference", "lower", "upper", "p_holm"], shows))


def beside_rules(run: Sources) -> Fact | None:
    """Models are compared with clinical scores on the same folds."""
    scores = {*run.experiment.comparators, *run.experiment.reported_scores}
    return _against(run, scores, "models minus clinical scores, same patients and folds")


def beside_clinical(run: Sources) -> Fact | None:
    """Models with radiomics are compared with scores or models without."""
    sets = run.experiment.feature_sets
    without = {name for name, body in sets.items() if body.radiomics is None}
    scores = {*run.experiment.comparators, *run.experiment.reported_scores}
    with_radiomics = {name for name in sets if name not in without}
    table = run.table("comparisons")
    if table is None or not table["model"].astype(str).str.partition("/")[0].isin(with_radiomics).any():
        return None
    return _against(run, without | scores, "models with radiomics minus what does without it")


def simple_models(run: Sources) -> Fact | None:
    """Models are compared with scores, or other learners with penalised regression."""
    table = run.table("comparisons")
    if table is None:
        return beside_rules(run)
    regression = table["reference"].astype(str).str.endswith("/ridge")
    if not (regression & ~table["model"].astype(str).str.endswith("/ridge") & table["lower"].notna()).any():
        return beside_rules(run)
    shows = "other learners minus penalised regression, same patients and folds"
    return yes(run.at_table("comparisons", ["model", "reference", "difference", "lower", "upper", "p_holm"], shows))


def combined_model(run: Sources) -> Fact | None:
    """A feature set has clinical columns and radiomics."""
    both = [n for n, body in run.experiment.feature_sets.items() if body.columns and body.radiomics is not None]
    if not both or run.record(f"experiment.feature_sets.{both[0]}") is None:
        return None
    return yes(run.at_record(f"experiment.feature_sets.{both[0]}", "clinical columns and radiomics together"))


def explained(run: Sources) -> Fact | None:
    """SHAP values out of fold."""
    if run.table("attributions") is None:
        return None
    return yes(run.at_table("attributions", ["feature", "attribution"], "SHAP values of patients held out"))
