"""Clinical rules and delivered scores as models of an experiment, in the forms and with the policy that it names."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from radiomics_crlm import clinical as rule_engine
from radiomics_crlm.clinical.catalogue import rule
from radiomics_crlm.config import EndpointConfig, ExperimentConfig
from radiomics_crlm.modelling.recalibration import Assessment, rule_model_predictions
from radiomics_crlm.modelling.risk import REPORT_MONTHS

# The event whose probability the recalibrated rules publish.
_PUBLISHED_EVENT = "recurrence_any"


def assessments(rules: pd.DataFrame, clinical: pd.DataFrame, experiment: ExperimentConfig) -> list[Assessment]:
    """Scores of the comparators and delivered scores for every patient of the cohort, with their possible range."""
    patients = pd.Index(clinical["patient_id"])
    found = []
    for name in experiment.comparators:
        rows = rules[rules["rule"] == name].set_index("patient_id")
        found.append(Assessment(name, *(numbers.reindex(patients) for numbers in rule_numbers(rows, name))))
    for column in experiment.reported_scores:
        score = clinical.set_index("patient_id")[column].astype("Float64").astype("float64")
        found.append(Assessment(column, score, score, score))
    return found


def rule_numbers(rows: pd.DataFrame, name: str) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Number of a rule for each patient (higher = worse; NaN where not assessable), and its smallest and largest value.

    The score, or the value of a formula; stages and grades count from 0 in the order of the rule.

    Parameters
    ----------
    rows
        Rows of the table ``rules`` of this rule, indexed by patient.
    name
        The rule.
    """
    body = rule(name).body
    assessed = rows["status"] == "ok"
    lower, upper = (rows[end].astype("float64") for end in ("lower", "upper"))
    if "order" in body:
        place = {group: float(rank) for rank, group in enumerate(body["order"])}
        number = rows["group"].map(place).astype("float64")
        ranks = [
            [place[g] for g in json.loads(text).get("possible", ())] if isinstance(text, str) else []
            for text in rows["details"]
        ]
        lower = pd.Series([min(r, default=np.nan) for r in ranks], index=rows.index)
        upper = pd.Series([max(r, default=np.nan) for r in ranks], index=rows.index)
    else:
        number = rows["score"].fillna(rows["value"]).astype("float64")
        if "override" in body:  # its bounds are grades, and one input decides the worst grade
            override = body["override"]
            number = number.mask(rows["group"] == override["group"], override["rank"] - override["first"])
            lower, upper = lower - override["first"], upper - override["first"]
    number = number.where(assessed)
    return number, number.fillna(lower), number.fillna(upper)


def rule_predictions(
    rules: pd.DataFrame, clinical: pd.DataFrame, outcome: pd.DataFrame, folds: pd.DataFrame,
    experiment: ExperimentConfig, endpoint: EndpointConfig, name: str,
) -> pd.DataFrame:  # fmt: skip
    """Rows of ``rule_predictions`` for one endpoint; empty for the plain rank of the assessable.

    Parameters
    ----------
    rules, clinical, folds
        Tables of the study.
    outcome
        ``patient_id, event, months`` of the endpoint.
    experiment, endpoint, name
        The experiment, the endpoint and its name.
    """
    y = outcome.set_index("patient_id")[["event", "months"]]
    here = folds[folds["patient_id"].isin(y.index)]
    parts: list[pd.DataFrame] = []
    for assessed in assessments(rules, clinical, experiment):
        own = Assessment(assessed.name, *(s.reindex(y.index) for s in (assessed.score, assessed.lower, assessed.upper)))
        if own.score.nunique() < 2:
            continue
        for form in experiment.rule_forms:
            # Without a patient between bounds there is nothing to bound.
            policy = experiment.rule_policy if own.score.isna().any() else "complete_case"
            if policy == "bounds" and own.lower.equals(own.score) and own.upper.equals(own.score):
                policy = "complete_case"
            if form == "published" or (form == "rank" and policy == "complete_case"):
                continue
            parts.append(
                rule_model_predictions(
                    own,
                    y,
                    here,
                    endpoint=name,
                    kind=endpoint.kind,
                    horizon=endpoint.horizon_months,
                    form=form,
                    policy=policy,
                    higher_is_worse=endpoint.higher_is_worse,
                )
            )
    if "published" in experiment.rule_forms and endpoint.event == _PUBLISHED_EVENT:
        parts += [_published(rules, y.index, here, comparator, name) for comparator in experiment.comparators]
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def _published(rules: pd.DataFrame, patients: pd.Index, folds: pd.DataFrame, name: str, endpoint: str) -> pd.DataFrame:
    """Published probabilities of a rule that has them, the same in every fold; unassessable patients have none."""
    rows = rules[(rules["rule"] == name) & (rules["status"] == "ok") & rules["patient_id"].isin(patients)]
    if rule_engine.describe(name).family != "recalibrated" or rows.empty:
        return pd.DataFrame()
    details = [json.loads(text) for text in rows["details"]]
    table = pd.DataFrame({"patient_id": rows["patient_id"].to_numpy()})
    for months in REPORT_MONTHS:
        table[f"probability_{months:.0f}m"] = [entry[f"p_{months / 12:g}y"] for entry in details]
    headline = table["probability_24m"].to_numpy(dtype=float)
    table["risk"] = np.log(headline) - np.log1p(-headline)
    table = table.merge(folds[["patient_id", "repeat", "fold"]], on="patient_id")
    return table.assign(endpoint=endpoint, model=f"{name} (published)", rule=name, form="published", imputed=False)
