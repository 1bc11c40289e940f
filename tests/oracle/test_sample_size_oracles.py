"""Sample sizes against the published formulas."""

from __future__ import annotations

import numpy as np
import plain_statistics as plain
import pytest
import statsmodels.api as sm
from oracle_comparison import Compare, oracle
from random_outcomes import draw
from scipy.stats import expon
from test_modelling_oracles import KINDS

from radiomics_crlm.modelling.sample_size import (
    expected_shrinkage,
    n_for_optimism,
    n_for_rate,
    n_for_risk,
    n_for_shrinkage,
    r2_max_binary,
    r2_max_survival,
    risk_interval,
    sample_size,
)

# lifelines 0.30 calls pandas in a way that pandas 4 will refuse.
pytestmark = pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0:DeprecationWarning")

_RILEY = "Riley et al. 2019 and 2020, doi:10.1002/sim.7992, doi:10.1136/bmj.m441"


@oracle(
    "Largest R2",
    against="statsmodels (log-likelihood of a label without inputs), SciPy (of an exponential time)",
    covers=("sample_size.r2_max_binary", "sample_size.r2_max_survival"),
)
def test_largest_r2_is_that_of_the_null_likelihood(compare: Compare) -> None:
    for seed in compare:
        generator = np.random.default_rng(seed)
        n = int(generator.integers(20, 300))
        event = np.arange(n) < generator.integers(1, n)
        null = sm.GLM(event.astype(float), np.ones((n, 1)), family=sm.families.Binomial()).fit(tol=1e-14).llf
        compare(seed, r2_max_binary(event.mean()), 1 - np.exp(2 * null / n))
        time = generator.exponential(size=n)
        time /= time.mean()  # a unit of follow-up per patient
        scale = time.sum() / event.sum()
        null = expon.logpdf(time[event], scale=scale).sum() + expon.logsf(time[~event], scale=scale).sum()
        compare(seed, r2_max_survival(event.mean()), 1 - np.exp(2 * null / n))


def _shrinkage(n: int, parameters: int, r2: float) -> float:
    """Van Houwelingen's shrinkage S = 1 - p / LR, with the likelihood ratio of the apparent R2 = r2 / S, by halving."""
    low, high = r2, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        ratio = -n * np.log(1 - r2 / middle)
        low, high = (middle, high) if middle < 1 - parameters / ratio else (low, middle)
    return low


@oracle(
    "Patients needed for shrinkage and optimism, expected shrinkage",
    against=f"written plainly, shrinkage solved by halving ({_RILEY})",
    covers=("sample_size.n_for_shrinkage", "sample_size.n_for_optimism", "sample_size.expected_shrinkage"),
)
def test_criteria_are_met_first_by_as_many_patients(compare: Compare) -> None:
    for seed in compare:
        generator = np.random.default_rng(seed)
        parameters, risk = int(generator.integers(1, 60)), generator.uniform(0.05, 0.6)
        r2_max = 1 - np.exp(2 * (risk * np.log(risk) + (1 - risk) * np.log(1 - risk)))
        r2 = generator.uniform(0.05, 0.5) * r2_max
        n = n_for_shrinkage(parameters, r2, 0.9)
        compare(seed, [_shrinkage(k, parameters, r2) >= 0.9 for k in (n - 1, n)], [False, True])
        n = n_for_optimism(parameters, r2, r2_max)
        gaps = [r2 / _shrinkage(k, parameters, r2) - r2 for k in (n - 1, n)]
        compare(seed, [gap <= 0.05 * r2_max for gap in gaps], [False, True])
        some = int(generator.integers(4 * parameters / r2, 40 * parameters / r2))
        compare(seed, expected_shrinkage(some, parameters, r2), _shrinkage(some, parameters, r2))


@oracle(
    "Patients needed for the overall risk",
    against=f"written plainly, one patient more at a time ({_RILEY})",
    covers=("sample_size.n_for_risk", "sample_size.n_for_rate", "sample_size.risk_interval"),
)
def test_precision_is_met_first_by_as_many_patients(compare: Compare) -> None:
    for seed in compare:
        generator = np.random.default_rng(seed)
        risk, rate, follow_up = generator.uniform(0.05, 0.95), generator.uniform(0.002, 0.1), generator.uniform(6, 60)
        n = 1
        while 1.96 * np.sqrt(risk * (1 - risk) / n) > 0.05:
            n += 1
        compare(seed, n_for_risk(risk), n)
        n = 0
        far = 1.0
        while far > 0.05:
            n += 1
            rates = [rate, *(rate + sign * 1.96 * np.sqrt(rate / (n * follow_up)) for sign in (-1, 1))]
            risks = [1 - np.exp(-max(r, 0.0) * 24) for r in rates]
            far = max(risks[0] - risks[1], risks[2] - risks[0])
        compare(seed, n_for_rate(rate, follow_up, 24), n)
        compare(seed, risk_interval(rate, n * follow_up, 24), risks)


@oracle(
    "Sample-size panel of an endpoint",
    against=f"written plainly ({_RILEY})",
    covers=("sample_size.sample_size", "sample_size.SampleSize", "sample_size.Anticipation"),
)
@pytest.mark.parametrize(("kind", "horizon"), KINDS)
def test_panel_equals_the_formulas(compare: Compare, kind: str, horizon: float | None) -> None:
    for seed in compare:
        y, _, generator = draw(seed, competing=True, mixed_ties=True, smallest=25)
        parameters = int(generator.integers(1, 30))
        at = 24.0 if horizon is None else horizon
        risk = plain.incidence(y, at)
        if not 0 < risk < 1:
            continue
        panel = sample_size(y, parameters, kind=kind, horizon=horizon)
        events = (y["event"] == 1) & ((y["months"] <= at) | (horizon is None))
        share = events.mean() if horizon is None else risk
        null = (
            share * np.log(share) - share
            if horizon is None
            else share * np.log(share) + (1 - share) * np.log(1 - share)
        )
        r2_max = 1 - np.exp(2 * null)
        r2 = 0.15 * r2_max
        first = int(np.ceil(parameters / (-0.1 * np.log(1 - r2 / 0.9))))
        wanted = r2 / (r2 + 0.05 * r2_max)
        second = int(np.ceil(parameters / ((wanted - 1) * np.log(1 - r2 / wanted))))
        found = [panel.events, panel.overall_risk, panel.r2_max, panel.n_shrinkage, panel.n_optimism]
        compare(seed, found, [events.sum(), risk, r2_max, first, second])
        compare(seed, panel.events_per_parameter, events.sum() / parameters)
        compare(seed, panel.n_required, max(first, second, panel.n_precision))
