"""Intraclass correlation and its limits against pingouin, and against the textbook formulas (own quantiles); rank
correlation against SciPy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin
import pytest
from oracle_comparison import Compare, oracle
from scipy import optimize, special, stats

from radiomics_crlm.evaluation.agreement import icc
from radiomics_crlm.evaluation.correlation import spearman

TYPES = {"agreement": "ICC(A,1)", "consistency": "ICC(C,1)"}


def table(seed: int) -> np.ndarray:
    """Random ratings: 3 to 40 subjects, 2 to 8 raters, and anything between no and perfect agreement."""
    generator = np.random.default_rng(seed)
    n, k = int(generator.integers(3, 41)), int(generator.integers(2, 9))
    sizes = 10.0 ** generator.uniform(-2, 1, size=3)
    values = (
        sizes[0] * generator.normal(size=(n, 1))
        + sizes[1] * generator.normal(size=(1, k))
        + sizes[2] * generator.normal(size=(n, k))
    )
    return np.asarray(values + generator.normal(scale=10))


@pytest.fixture
def unrounded() -> object:
    """Pingouin shows limits with two digits unless told otherwise."""
    before = pingouin.options["round.column.CI95"]
    pingouin.options["round.column.CI95"] = None
    yield None
    pingouin.options["round.column.CI95"] = before


@oracle("Intraclass correlation with limits", against="pingouin", covers=("agreement.icc", "agreement.Agreement"))
@pytest.mark.usefixtures("unrounded")
# pingouin 0.7 on pandas 3.1; remove when pingouin has stopped dropping columns in place.
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame")
def test_icc_equals_pingouin(compare: Compare) -> None:
    for seed in compare:
        values = table(seed)
        n, k = values.shape
        long = pd.DataFrame(
            {"subject": np.repeat(np.arange(n), k), "rater": np.tile(np.arange(k), n), "value": values.ravel()}
        )
        expected = pingouin.intraclass_corr(long, "subject", "rater", "value").set_index("Type")
        for kind, name in TYPES.items():
            got = icc(values[:, :, None], kind)
            numbers = [got.estimate[0], got.lower[0], got.upper[0]]
            compare(seed, numbers, [expected.at[name, "ICC"], *expected.at[name, "CI95"]])


def quantile(q: float, df1: float, df2: float) -> float:
    """Quantile of F by solving its distribution function, written with the incomplete beta function."""
    share = optimize.brentq(lambda x: special.betainc(df1 / 2, df2 / 2, x) - q, 0.0, 1.0, xtol=1e-16)
    return float(df2 * share / (df1 * (1 - share)))


def textbook(values: np.ndarray, kind: str, confidence: float) -> list[float]:
    """McGraw and Wong 1996, table 4 and 7, number by number."""
    n, k = values.shape
    grand, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    msr = k * sum((r - grand) ** 2 for r in rows) / (n - 1)
    msc = n * sum((c - grand) ** 2 for c in columns) / (k - 1)
    mse = sum((values[i, j] - rows[i] - columns[j] + grand) ** 2 for i in range(n) for j in range(k))
    mse /= (n - 1) * (k - 1)
    tail = 1 - (1 - confidence) / 2
    if kind == "consistency":
        low = msr / mse / quantile(tail, n - 1, (n - 1) * (k - 1))
        high = msr / mse * quantile(tail, (n - 1) * (k - 1), n - 1)
        return [(msr - mse) / (msr + (k - 1) * mse), (low - 1) / (low + k - 1), (high - 1) / (high + k - 1)]
    rho = (msr - mse) / (msr + (k - 1) * mse + k / n * (msc - mse))
    a = k * rho / (n * (1 - rho))
    b = 1 + k * rho * (n - 1) / (n * (1 - rho))
    v = (a * msc + b * mse) ** 2 / ((a * msc) ** 2 / (k - 1) + (b * mse) ** 2 / ((n - 1) * (k - 1)))
    low, high = quantile(tail, n - 1, v), quantile(tail, v, n - 1)
    return [
        rho,
        n * (msr - low * mse) / (low * (k * msc + (k * n - k - n) * mse) + n * msr),
        n * (high * msr - mse) / (k * msc + (k * n - k - n) * mse + n * high * msr),
    ]


@oracle(
    "Intraclass correlation, limits as printed",
    against="written plainly (McGraw and Wong 1996, doi:10.1037/1082-989X.1.1.30)",
    covers=("agreement.icc",),
)
@pytest.mark.parametrize("kind", ["agreement", "consistency"])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_limits_agree_with_the_formulas_as_printed(compare: Compare, kind: str, confidence: float) -> None:
    for seed in compare:
        values = table(1000 + seed)
        got = icc(values[:, :, None], kind, confidence=confidence)
        compare(seed, [got.estimate[0], got.lower[0], got.upper[0]], textbook(values, kind, confidence))


@oracle(
    "Spearman correlation with limits",
    against="SciPy, limits written plainly (Bonett and Wright 2000, doi:10.1007/BF02294183)",
    covers=("correlation.spearman", "correlation.Correlation"),
)
def test_spearman_equals_scipy(compare: Compare) -> None:
    """Ties, gaps, and several rows per patient."""
    for seed in compare:
        generator = np.random.default_rng(seed)
        n = int(generator.integers(8, 60))
        reference = generator.normal(size=n).round(1)
        values = (reference[:, None] * [0.0, 0.5, -2.0] + generator.normal(size=(n, 3))).round(1)
        values[generator.random((n, 3)) < 0.1] = np.nan
        patients = np.sort(generator.integers(0, n, n)) if seed % 2 else np.arange(n)
        got = spearman(values, reference, patients)
        for p in range(3):
            known = np.isfinite(values[:, p])
            independent = len(set(patients[known]))
            if independent < 4 or len(set(values[known, p])) < 2:
                continue
            r = stats.spearmanr(values[known, p], reference[known]).statistic
            half = 1.959963984540054 * np.sqrt((1 + r * r / 2) / (independent - 3))
            limits = [np.tanh(np.arctanh(r) + sign * half) for sign in (-1, 1)]
            compare(seed, [got.estimate[p], got.lower[p], got.upper[p]], [r, *limits])
