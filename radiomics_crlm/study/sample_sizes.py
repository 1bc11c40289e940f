"""The sample-size panel of a study: one row per endpoint and feature set, made before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from radiomics_crlm.config import ExperimentConfig
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling.sample_size import Anticipation, sample_size
from radiomics_crlm.study.plans import Plan
from radiomics_crlm.study.prepare import Prepared


def sample_sizes(experiment: ExperimentConfig, prepared: Prepared, plans: Sequence[Plan]) -> pd.DataFrame:
    """Table ``sample_size``; learners of one feature set share a row.

    Raises
    ------
    InputError
        If nobody has an event, or everybody.
    """
    stated = experiment.sample_size
    anticipation = Anticipation(stated.r2_share, stated.shrinkage, stated.timepoint_months)
    rows = []
    for plan in {(plan.endpoint, plan.recipe.feature_set): plan for plan in plans}.values():
        endpoint = prepared.endpoints[plan.endpoint]
        outcome = prepared.outcomes[plan.endpoint]
        panel = sample_size(
            make_outcome(outcome["event"], outcome["months"]),
            plan.recipe.n_inputs,
            kind=endpoint.kind,
            horizon=endpoint.horizon_months,
            anticipation=anticipation,
        )
        row = {**asdict(panel), "timepoint_months": panel.timepoint, "sufficient": panel.sufficient}
        del row["timepoint"]
        where = {"endpoint": plan.endpoint, "feature_set": plan.recipe.feature_set}
        rows.append({**where, "shrinkage_wanted": stated.shrinkage, **row})
    return pd.DataFrame(rows)
