"""Published scores as models: recalibrated inside each training fold, with a stated policy for the unassessable.

A score has no probabilities for a cohort, or has them from another one. A regression on the score alone, fitted on the
training patients of each outer fold, gives probabilities that can be judged beside those of the learned models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats, Kind, Outcome, check_outcome
from radiomics_crlm.modelling.audit import FitAudit
from radiomics_crlm.modelling.checks import align_outcome, fold_matrix
from radiomics_crlm.modelling.estimators import RidgeCox, RidgeLogistic
from radiomics_crlm.modelling.risk import REPORT_MONTHS
from radiomics_crlm.modelling.train import training_rows

Policy = Literal["complete_case", "bounds", "imputed"]
Form = Literal["rank", "recalibrated"]

# The regression has one standardised input; the penalty only keeps a separating score finite.
_PENALTY = 1e-4
_FEWEST_EVENTS = 2


@dataclass(frozen=True)
class Assessment:
    """A score of n patients (index: patient): ``score`` (NaN where not assessable) and its possible range.

    ``lower`` and ``upper`` equal the score where it is assessable; NaN where a bound is not known.
    """

    name: str
    score: pd.Series
    lower: pd.Series
    upper: pd.Series


def rule_model_predictions(
    assessed: Assessment, y: Outcome | pd.DataFrame, folds: pd.DataFrame, *,
    endpoint: str, kind: Kind, horizon: float | None, form: Form, policy: Policy, higher_is_worse: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Out-of-fold predictions of a score, in the form of the table ``rule_predictions``.

    Parameters
    ----------
    assessed
        The score of the patients of the endpoint.
    y, folds
        Outcomes and outer folds of the same patients, as for ``nested_cv``.
    endpoint
        Name, for the table.
    kind, horizon
        A label at ``horizon`` months is recalibrated by logistic regression (weighted for censoring), time to event by
        Cox regression with the cumulative incidence of its Breslow baseline.
    form
        ``recalibrated``, or ``rank``: the score as it is, without probabilities.
    policy
        ``complete_case``: unassessable patients have no prediction. ``bounds``: everybody is predicted twice, at the
        lower and at the upper bound, from a model of the assessable. ``imputed``: the median score of the training
        patients stands in, in training and test; the row is marked.
    higher_is_worse
        False for a good event: the sign of the rank turns. The recalibration learns its sign itself.

    Returns
    -------
    pandas.DataFrame
        Rows by patient and repeat; none where a training fold lacks assessable patients or events.

    Raises
    ------
    LeakError
        If a fit would see a patient of its test fold.
    """
    outcome = align_outcome(y, assessed.score.index)
    wide = fold_matrix(folds, assessed.score.index)
    at = horizon if kind == "binary" else None
    request = _Request(assessed, outcome, at, form, policy, 1.0 if higher_is_worse else -1.0)
    parts: list[pd.DataFrame] = []
    for repeat in wide.columns:
        assigned = wide[repeat].to_numpy()
        for fold in np.unique(assigned):
            made = _fold(request, assigned, int(fold))
            if made is None:
                return pd.DataFrame()
            parts += [part.assign(repeat=int(repeat), fold=int(fold)) for part in made]
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "endpoint", endpoint)
    names = {variant: _model_name(assessed.name, form, variant) for variant in table["variant"].unique()}
    table.insert(1, "model", table["variant"].map(names))
    return table.assign(rule=assessed.name, form=form).drop(columns="variant")


@dataclass(frozen=True)
class _Request:
    assessed: Assessment
    y: Outcome
    horizon: float | None
    form: Form
    policy: Policy
    sign: float


def _model_name(name: str, form: Form, variant: str) -> str:
    words = [word for word in ("recalibrated" if form == "recalibrated" else "", variant) if word]
    return f"{name} ({', '.join(words)})" if words else name


def _fold(request: _Request, assigned: np.ndarray, fold: int) -> list[pd.DataFrame] | None:
    """Predictions of one test fold; None where its training patients do not suffice."""
    assessed, y = request.assessed, request.y
    train, test = training_rows(assigned, fold), np.flatnonzero(assigned == fold)
    patients = assessed.score.index
    known = assessed.score.to_numpy(dtype=float)
    fitted = train[np.isfinite(known[train])]
    if fitted.size == 0:
        return None
    score = known
    if request.policy == "imputed":
        score = np.where(np.isfinite(known), known, float(np.median(known[fitted])))
        fitted = train
    FitAudit(patients[test]).check(patients[fitted], f"{assessed.name}: {request.form}")
    if request.form == "recalibrated" and not _enough(y[fitted], request.horizon):
        return None
    tested = {"imputed" if request.policy == "imputed" else "": score}
    if request.policy == "bounds":
        ends = {"lower bound": assessed.lower, "upper bound": assessed.upper}
        tested = {variant: end.to_numpy(dtype=float) for variant, end in ends.items()}
    made = []
    for variant, values in tested.items():
        here = test[np.isfinite(values[test])]
        rows = pd.DataFrame({"patient_id": patients[here], "variant": variant})
        numbers = (
            _recalibrated(score[fitted], y[fitted], request.horizon, values[here])
            if request.form == "recalibrated"
            else (request.sign * values[here], None)
        )
        made.append(_with_numbers(rows, *numbers).assign(imputed=~np.isfinite(known[here]) & (variant == "imputed")))
    return made


def _enough(y: Outcome, horizon: float | None) -> bool:
    try:
        check_outcome(y, horizon=horizon, min_events=_FEWEST_EVENTS)
    except InputError:
        return False
    return True


def _recalibrated(score: Floats, y: Outcome, horizon: float | None, tested: Floats) -> tuple[Floats, Floats]:
    """Risk and probabilities of test scores from a regression on training scores."""
    centre, spread = float(score.mean()), float(score.std()) or 1.0
    model = RidgeCox(_PENALTY) if horizon is None else RidgeLogistic(horizon, _PENALTY)
    model.fit(((score - centre) / spread)[:, None], y)
    X = ((tested - centre) / spread)[:, None]
    return model.risk(X), model.probability(X, REPORT_MONTHS)


def _with_numbers(rows: pd.DataFrame, risk: Floats, probability: Floats | None) -> pd.DataFrame:
    columns = {
        f"probability_{month:.0f}m": np.nan if probability is None else probability[:, column]
        for column, month in enumerate(REPORT_MONTHS)
    }
    return rows.assign(risk=risk, **columns)
