"""Calibration regressions against statsmodels, the spline against its textbook form, ICI against its definition."""

from __future__ import annotations

import numpy as np
import plain_statistics as plain
import statsmodels.api as sm
from lifelines import AalenJohansenFitter
from oracle_comparison import Compare, oracle

from radiomics_crlm.evaluation.calibration import calibration_groups, calibration_line
from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.evaluation.resampling import resamples
from radiomics_crlm.evaluation.smooth_calibration import cloglog, smooth_calibration, spline_basis


def _data(seed: int, *, repeats: int, ties: bool = True) -> tuple[Outcome, np.ndarray]:
    """Outcomes that depend on the prediction, censored and competing."""
    generator = np.random.default_rng(seed)
    n = int(generator.integers(80, 140))
    x = generator.normal(size=n)
    event, rival = generator.exponential(12 * np.exp(-0.7 * x)), generator.exponential(60, n)
    leaving = generator.uniform(4, 40, n)
    months = np.minimum(np.minimum(event, rival), leaving)
    code = np.where(months == event, 1, np.where(months == rival, 2, 0))
    noisy = x[:, None] + 0.3 * generator.normal(size=(n, repeats))
    return make_outcome(code, np.ceil(months) if ties else months), 1 / (1 + np.exp(-0.8 * noisy))


def _textbook_spline(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Restricted cubic spline of Harrell's book, one value at a time."""
    k = len(knots)
    rows = []
    for value in x:
        row = [1.0, value]
        for j in range(k - 2):
            cube = [max(value - t, 0.0) ** 3 for t in (knots[j], knots[k - 2], knots[k - 1])]
            gap = knots[k - 1] - knots[k - 2]
            term = cube[0] - cube[1] * (knots[k - 1] - knots[j]) / gap + cube[2] * (knots[k - 2] - knots[j]) / gap
            row.append(term / (knots[k - 1] - knots[0]) ** 2)
        rows.append(row)
    return np.array(rows)


@oracle(
    "Restricted cubic spline",
    against="written plainly (Harrell, Regression Modeling Strategies, doi:10.1007/978-3-319-19425-7, section 2.4.5)",
    covers=("smooth_calibration.spline_basis", "smooth_calibration.cloglog"),
)
def test_spline_equals_the_textbook(compare: Compare) -> None:
    """Knots at least a tenth apart: terms grow with the inverse of their distance, and rounding with them."""
    for seed in compare:
        generator = np.random.default_rng(seed)
        x, knots = generator.normal(size=30), np.sort(generator.normal(size=int(generator.integers(3, 6))))
        if np.diff(knots).min() < 0.1:
            continue
        compare(seed, spline_basis(x, knots), _textbook_spline(x, knots))
        p = generator.uniform(0.001, 0.999, 10)
        compare(seed, cloglog(p), np.log(-np.log(1 - p)))


@oracle(
    "Smooth calibration curve, ICI, E50, E90",
    against="statsmodels (weighted GLM, complementary log-log), distances written plainly "
    "(Austin and Steyerberg 2019, doi:10.1002/sim.8281)",
    covers=("smooth_calibration.smooth_calibration",),
    tolerance=1e-6,
)
def test_smooth_curve_and_its_distances_equal_statsmodels(compare: Compare) -> None:
    """In the sample and in a resample, whose knots are those of the sample; repeats are stacked."""
    for seed in compare:
        y, p = _data(seed, repeats=2)
        sample = resamples(y, draws=1, seed=seed)
        at = sample.at(12.0)
        found = smooth_calibration(at, p, grid=7)
        transformed = np.log(-np.log(1 - p.ravel()))
        knots = np.array([plain.quantile(transformed, share) for share in (0.1, 0.5, 0.9)])
        basis = _textbook_spline(transformed, knots)
        grid = np.linspace(p.min(), p.max(), 7)
        on_grid = _textbook_spline(np.log(-np.log(1 - grid)), knots)
        for row in range(2):
            rows = plain.drawn_rows(sample.counts[row])
            label, weight = plain.labels(y[rows], 12.0)
            both = np.repeat(2 * rows, 2) + np.tile([0, 1], rows.size)
            used = np.repeat(weight, 2) > 0
            model = sm.GLM(
                np.repeat(label, 2)[used],
                basis[both][used],
                family=sm.families.Binomial(sm.families.links.CLogLog()),
                var_weights=np.repeat(weight, 2)[used],
            )
            beta = model.fit(tol=1e-12, maxiter=200).params
            curve = 1 - np.exp(-np.exp(on_grid @ beta))
            drawn = np.sort(np.abs(1 - np.exp(-np.exp(basis @ beta)) - p.ravel())[both])
            expected = [drawn.mean(), *(drawn[int(np.ceil(q * drawn.size)) - 1] for q in (0.5, 0.9))]
            if row == 0:
                compare(seed, found.observed, curve)
                values = [found.ici.value, found.e50.value, found.e90.value]
            else:  # with a single resample both limits are its value
                compare(seed, found.lower, curve)
                values = [found.ici.upper, found.e50.upper, found.e90.upper]
            compare(seed, values, expected)


@oracle(
    "Calibration slope and intercept with limits",
    against="statsmodels (GEE with robust variance), weights written plainly",
    covers=("calibration.calibration_line",),
    tolerance=1e-8,
)
def test_calibration_line_equals_statsmodels(compare: Compare) -> None:
    """Estimates of the weighted logistic regressions, and their sandwich limits clustered by patient."""
    for seed in compare:
        y, p = _data(seed, repeats=2)
        label, weight = plain.labels(y, 12.0)
        target, w, who = np.repeat(label, 2), np.repeat(weight, 2), np.repeat(np.arange(y.size), 2)
        logit = np.log(p / (1 - p)).ravel()
        used = w > 0
        # Estimating equations that take patients for independent: their robust variance is the clustered sandwich.
        settings = {"groups": who[used], "family": sm.families.Binomial(), "weights": w[used]}
        free = sm.GEE(target[used], sm.add_constant(logit)[used], **settings).fit(ctol=1e-10, maxiter=100)
        slope, intercept = calibration_line(y, p, 12.0)
        compare(seed, [slope.value, slope.lower, slope.upper], [free.params[1], *free.conf_int()[1]])
        one = np.ones((int(used.sum()), 1))
        fixed = sm.GEE(target[used], one, offset=logit[used], **settings).fit(ctol=1e-10, maxiter=100)
        compare(seed, [intercept.value, intercept.lower, intercept.upper], [fixed.params[0], *fixed.conf_int()[0]])


@oracle(
    "Calibration by groups",
    against="lifelines (Aalen-Johansen), groups written plainly",
    covers=("calibration.calibration_groups",),
    fast=60,
)
def test_calibration_groups_equal_lifelines(compare: Compare) -> None:
    """Without ties, because lifelines moves tied times apart at random."""
    for seed in compare:
        y, p = _data(seed, repeats=2, ties=False)
        if (y.size - 1) % 3 == 0:  # a quantile that is a prediction itself is decided by rounding
            continue
        found = calibration_groups(y, p, 12.0, groups=3)
        mean = p.mean(axis=1)
        edges = [plain.quantile(mean, share) for share in (1 / 3, 2 / 3)]
        member = np.array([sum(value > edge for edge in edges) for value in mean])
        for row, group in enumerate(np.unique(member)):
            inside = member == group
            curve = AalenJohansenFitter(calculate_variance=False).fit(
                y["months"][inside], y["event"][inside], event_of_interest=1
            )
            observed = curve.cumulative_density_.loc[:12.0].iloc[-1, 0]
            numbers = found.loc[row, ["n", "predicted", "observed"]]
            compare(seed, numbers, [inside.sum(), mean[inside].mean(), observed])
