"""Calibration regressions against statsmodels, the spline against its textbook form, ICI against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from random_outcomes import CLOSED_FORM, ITERATIVE, SEEDS

from radiomics_crlm.evaluation.calibration import calibration_line
from radiomics_crlm.evaluation.outcome import Outcome, horizon_labels, make_outcome
from radiomics_crlm.evaluation.resampling import resamples
from radiomics_crlm.evaluation.smooth_calibration import cloglog, smooth_calibration, spline_basis


def _data(seed: int, *, repeats: int) -> tuple[Outcome, np.ndarray]:
    """Outcomes that depend on the prediction, censored and competing, with ties."""
    generator = np.random.default_rng(seed)
    n = int(generator.integers(80, 140))
    x = generator.normal(size=n)
    event, rival = generator.exponential(12 * np.exp(-0.7 * x)), generator.exponential(60, n)
    leaving = generator.uniform(4, 40, n)
    months = np.minimum(np.minimum(event, rival), leaving)
    code = np.where(months == event, 1, np.where(months == rival, 2, 0))
    noisy = x[:, None] + 0.3 * generator.normal(size=(n, repeats))
    return make_outcome(code, np.ceil(months)), 1 / (1 + np.exp(-0.8 * noisy))


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


def test_spline_equals_the_textbook() -> None:
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        x, knots = generator.normal(size=30), np.sort(generator.normal(size=int(generator.integers(3, 6))))
        np.testing.assert_allclose(spline_basis(x, knots), _textbook_spline(x, knots), rtol=1e-9, atol=CLOSED_FORM)


def test_smooth_curve_and_its_distances_equal_statsmodels() -> None:
    """In the sample and in a resample, whose knots are those of the sample; repeats are stacked."""
    for seed in SEEDS:
        y, p = _data(seed, repeats=2)
        sample = resamples(y, draws=1, seed=seed)
        at = sample.at(12.0)
        found = smooth_calibration(at, p, grid=7)
        knots = np.quantile(cloglog(p.ravel()), (0.1, 0.5, 0.9))
        basis = _textbook_spline(np.log(-np.log(1 - p.ravel())), knots)
        grid = np.linspace(p.min(), p.max(), 7)
        on_grid = _textbook_spline(np.log(-np.log(1 - grid)), knots)
        for row in range(2):
            weight = np.repeat(at.weights[row], 2)
            used = weight > 0
            model = sm.GLM(
                np.repeat(at.label, 2)[used],
                basis[used],
                family=sm.families.Binomial(sm.families.links.CLogLog()),
                var_weights=weight[used],
            )
            beta = model.fit(tol=1e-12, maxiter=200).params
            curve = 1 - np.exp(-np.exp(on_grid @ beta))
            far = np.abs(1 - np.exp(-np.exp(basis @ beta)) - p.ravel())
            drawn = np.sort(np.repeat(far, np.repeat(sample.counts[row], 2).astype(int)))
            expected = [drawn.mean(), *(drawn[int(np.ceil(q * drawn.size)) - 1] for q in (0.5, 0.9))]
            if row == 0:
                np.testing.assert_allclose(found.observed, curve, atol=ITERATIVE)
                values = [found.ici.value, found.e50.value, found.e90.value]
            else:  # with a single resample both limits are its value
                np.testing.assert_allclose(found.lower, curve, atol=ITERATIVE)
                values = [found.ici.upper, found.e50.upper, found.e90.upper]
            np.testing.assert_allclose(values, expected, atol=ITERATIVE)


def test_calibration_line_equals_statsmodels() -> None:
    """Estimates of the weighted logistic regressions, and their sandwich limits clustered by patient."""
    for seed in SEEDS:
        y, p = _data(seed, repeats=2)
        label, weight = horizon_labels(y, 12.0)
        target, w, who = np.repeat(label, 2), np.repeat(weight, 2), np.repeat(np.arange(y.size), 2)
        logit = np.log(p / (1 - p)).ravel()
        used = w > 0
        family = sm.families.Binomial()
        # Estimating equations that take patients for independent: their robust variance is the clustered sandwich.
        free = sm.GEE(target[used], sm.add_constant(logit)[used], groups=who[used], family=family, weights=w[used])
        fitted = free.fit(ctol=1e-10, maxiter=100)
        slope, intercept = calibration_line(y, p, 12.0)
        ours = [slope.value, slope.lower, slope.upper]
        np.testing.assert_allclose(ours, [fitted.params[1], *fitted.conf_int()[1]], atol=ITERATIVE)
        fixed = sm.GLM(
            target[used], np.ones((int(used.sum()), 1)), family=family, var_weights=w[used], offset=logit[used]
        ).fit(tol=1e-12)
        assert intercept.value == pytest.approx(float(fixed.params[0]), abs=ITERATIVE)
