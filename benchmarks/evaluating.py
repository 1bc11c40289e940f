"""Metrics with bootstrap intervals against loops over the draws: lifelines, scikit-survival, dcurves, pingouin.

Both sides use the same draws, so all values must agree, those of the resamples too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd
import pingouin
from dcurves import dca
from lifelines.utils import concordance_index
from measuring import Comparison, Entry, Given, apart, named
from sksurv.metrics import brier_score, concordance_index_censored, concordance_index_ipcw, cumulative_dynamic_auc
from sksurv.util import Surv

from radiomics_crlm.evaluation.agreement import icc
from radiomics_crlm.evaluation.decision import decision_curve
from radiomics_crlm.evaluation.outcome import Floats, Outcome, make_outcome
from radiomics_crlm.evaluation.ranking import RankStatistic, auc_at, harrell, uno, within_folds
from radiomics_crlm.evaluation.resampling import resamples
from radiomics_crlm.evaluation.survival_scores import brier_values

SEED, MONTHS, LAST = 20261121, 24.25, 60.25
THRESHOLDS = np.arange(5, 100, 5) / 100  # few: dcurves takes long
Metric = Callable[[Outcome, Floats], float]


def patients(n: int) -> tuple[Outcome, Floats, Floats]:
    """Outcomes, risks and probabilities at the horizon; events at whole months, censoring between them."""
    generator = np.random.default_rng(SEED)
    risk = generator.normal(size=n)
    event = generator.random(n) < 0.6
    months = np.ceil(generator.exponential(30 * np.exp(-0.6 * risk))) + 0.5 * ~event
    months[0], event[0] = 99.0, False
    return make_outcome(event.astype(int), months), risk, 1 / (1 + np.exp(-risk))


def survival(y: Outcome) -> np.ndarray:
    """Outcome of scikit-survival."""
    return np.asarray(Surv.from_arrays(y["event"] == 1, y["months"]))


def by_lifelines(y: Outcome, risk: Floats) -> float:
    """Harrell's C."""
    return float(concordance_index(y["months"], -risk, y["event"]))


def by_censored(y: Outcome, risk: Floats) -> float:
    """Harrell's C."""
    return float(concordance_index_censored(y["event"] == 1, y["months"], risk)[0])


def by_ipcw(y: Outcome, risk: Floats) -> float:
    """Uno's C."""
    known = survival(y)
    return float(concordance_index_ipcw(known, known, risk, tau=LAST)[0])


def by_dynamic(y: Outcome, risk: Floats) -> float:
    """AUC at the horizon."""
    known = survival(y)
    return float(cumulative_dynamic_auc(known, known, risk, [MONTHS])[0][0])


def by_brier(y: Outcome, probability: Floats) -> float:
    """Brier score at the horizon."""
    known = survival(y)
    return float(brier_score(known, known, 1 - probability[:, None], [MONTHS])[1][0])


def looped(metric: Metric, y: Outcome, score: Floats, draws: int) -> Floats:
    """A metric in the sample and in each resample: tables in which patients are repeated."""
    counts = resamples(y, draws=draws, seed=SEED).counts.astype(int)
    drawn = (np.repeat(np.arange(y.size), row) for row in counts)
    return np.array([metric(y[rows], score[rows]) for rows in drawn])


def ranked(statistic: RankStatistic, y: Outcome, risk: Floats, draws: int) -> Floats:
    """Ours, all draws at once."""
    one = np.zeros((y.size, 1), dtype=np.int64)
    return within_folds(statistic, risk[:, None], one, resamples(y, draws=draws, seed=SEED))


def scored(y: Outcome, probability: Floats, draws: int) -> Floats:
    """Our Brier score, all draws at once."""
    return brier_values(resamples(y, draws=draws, seed=SEED).at(MONTHS), probability[:, None])


def our_curve(y: Outcome, probability: Floats) -> Floats:
    """Net benefit over thresholds."""
    return decision_curve(y, probability, MONTHS, THRESHOLDS)["net_benefit"].to_numpy()


def their_curve(y: Outcome, probability: Floats) -> Floats:
    """The same by dcurves."""
    table = pd.DataFrame({"event": (y["event"] == 1).astype(int), "time": y["months"], "m": probability})
    found = dca(table, "event", ["m"], thresholds=THRESHOLDS, time=MONTHS, time_to_outcome_col="time")
    return found.set_index("model").loc["m", "net_benefit"].to_numpy(dtype=float)


def our_icc(values: Floats) -> Floats:
    """Estimate and limits, 3 x features."""
    found = icc(values, "agreement")
    return np.stack([found.estimate, found.lower, found.upper])


def their_icc(values: Floats) -> Floats:
    """The same, feature by feature."""
    n, k, count = values.shape
    shape = {"subject": np.repeat(np.arange(n), k), "rater": np.tile(np.arange(k), n)}
    before, columns = pingouin.options["round.column.CI95"], []
    pingouin.options["round.column.CI95"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for feature in range(count):
            long = pd.DataFrame(shape | {"value": values[:, :, feature].ravel()})
            found = pingouin.intraclass_corr(long, "subject", "rater", "value").set_index("Type")
            columns.append([found.at["ICC(A,1)", "ICC"], *found.at["ICC(A,1)", "CI95"]])
    pingouin.options["round.column.CI95"] = before
    return np.array(columns).T


def entries(given: Given) -> Iterator[Entry]:
    """All metrics."""
    draws, features = (50, 20) if given.quick else (1000, 500)
    y, risk, probability = patients(200)
    ranks: tuple[tuple[str, RankStatistic, Metric, str], ...] = (
        ("Harrell's C", harrell(y), by_lifelines, "lifelines"),
        ("Harrell's C", harrell(y), by_censored, "scikit-survival"),
        ("Uno's C", uno(y, LAST), by_ipcw, "scikit-survival"),
        ("AUC at 24 months", auc_at(y, MONTHS), by_dynamic, "scikit-survival"),
    )
    case = f"200 patients, {draws} bootstrap draws"
    for title, statistic, metric, peer in ranks:
        yield Comparison(
            "evaluation", f"{title}, {case}", f"loop of {named(peer)}", partial(ranked, statistic, y, risk, draws),
            partial(looped, metric, y, risk, draws), apart, 1e-8, repeats=3, patience=20.0,
        )  # fmt: skip
    yield Comparison(
        "evaluation", f"Brier score at 24 months, {case}", f"loop of {named('scikit-survival')}",
        partial(scored, y, probability, draws), partial(looped, by_brier, y, probability, draws), apart, 1e-8,
        repeats=3, patience=20.0,
    )  # fmt: skip
    yield Comparison(
        "evaluation", f"decision curve, 200 patients, {THRESHOLDS.size} thresholds", named("dcurves"),
        partial(our_curve, y, probability), partial(their_curve, y, probability), apart, 1e-8, repeats=5,
    )  # fmt: skip
    generator = np.random.default_rng(SEED)
    values = generator.normal(size=(40, 1, features)) + 0.5 * generator.normal(size=(40, 6, features))
    yield Comparison(
        "evaluation", f"ICC(2,1) with limits, 40 lesions × 6 perturbations × {features} features",
        f"loop of {named('pingouin')}", partial(our_icc, values), partial(their_icc, values), apart, 1e-8, repeats=3,
        least=1, patience=20.0,
    )  # fmt: skip
