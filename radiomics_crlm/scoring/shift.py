"""Shift of a cohort: do its patients, scans and outcomes look like those that the model was trained on?

Each input is compared with the training in bins. The population stability index (PSI) says how large a difference is; a
test says whether chance explains it, the training cohort being a sample too: PSI x n m / (n + m) of n and m patients is
about chi-squared without a shift, and so is the Pearson form of the same sum, which is used because it holds for fewer
patients. Holm's correction over all tests keeps the probability of a false alarm of a whole cohort below 5 %.

References
----------
Yurdakul and Naranjo 2020, doi:10.21314/JRMV.2020.227 (distribution of the PSI). Bross 1958, doi:10.2307/2527727
(ridit). Holm 1979, Scandinavian Journal of Statistics 6:65-70.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import chdtrc, gammaincc, gammaln, ndtr

from radiomics_crlm.evaluation.incidence import aalen_johansen
from radiomics_crlm.schema import load_schema
from radiomics_crlm.scoring.bundle import BundleContent
from radiomics_crlm.scoring.reference import InputShape
from radiomics_crlm.scoring.tally import PER_DECADE, SUM_UNIT, Column, Tally

__all__ = ["ShiftReport", "Tally", "shift_report"]

ALPHA = 0.03
"""Probability of a false alarm, of a whole cohort: below 5 %, of which the approximations have their share."""
FEWEST = 10
"""Patients with a value below whom nothing is compared."""
SMALL_COHORT = 50
"""Below so many patients only large shifts are found, and the report says so."""
UNIT_FACTOR = 3.0
"""A shifted quantity whose median is off by this factor looks as if it came in another unit."""
_EXPECTED = 5.0
# Below so many patients expected in a cell, shares are compared exactly.
_EXACT = 30.0
_NULL_DRAWS = 4000
# Above this probability its exact size decides nothing.
_CLEAR = 0.2
_NAMED = 10


@dataclass(frozen=True)
class Compared:
    """One input of the cohort beside the training.

    ``psi`` in ``bins`` bins; ``p`` and ``missing_p`` before Holm's correction (null: not compared); ``unseen`` is the
    share of known values in no category of the training, ``factor`` the median over that of the training.
    """

    input: str
    n: int
    missing: float
    missing_training: float
    bins: int
    psi: float | None
    p: float | None
    missing_p: float | None
    shifted: bool = False
    missing_shifted: bool = False
    unseen: float | None = None
    factor: float | None = None
    unit_suspicion: bool = False


@dataclass(frozen=True)
class Calibration:
    """Observed over expected events by ``months`` in patients with an outcome, with 95 % limits."""

    months: int
    n: int
    expected: float
    observed: float
    ratio: float
    ratio_lower: float
    ratio_upper: float
    reading: str


@dataclass(frozen=True)
class ShiftReport:
    """What was compared, and the verdict in words; ``shifted`` names the inputs."""

    verdict: str
    remark: str
    rows: int
    shifted: tuple[str, ...]
    inputs: tuple[Compared, ...]
    scans: tuple[Compared, ...]
    predicted: Mapping[str, float]
    calibration: tuple[Calibration, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        plain = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def shift_report(content: BundleContent, tally: Tally) -> ShiftReport:
    """Compare a cohort with the training of a bundle.

    Parameters
    ----------
    content
        The bundle.
    tally
        Counts of the whole cohort.

    Returns
    -------
    ShiftReport
        ``verdict`` is "no shift found", "shifted: ..." with the names of inputs, or why nothing could be compared. A
        difference in calibration is told apart, in ``calibration``: it is no shift of the inputs.
    """
    predicted = {str(month): round(total / SUM_UNIT / n, 6) for month, (n, total) in tally.predicted.items() if n}
    calibration = tuple(found for month in tally.expected if (found := _calibration(tally, month)) is not None)
    known = content.shift
    if known is None:
        return ShiftReport(
            "not compared: the bundle keeps no distribution of its training data", "", tally.rows, (), (), (),
            predicted, calibration,
        )  # fmt: skip
    inputs = [_compare(name, shape, tally.inputs[name]) for name, shape in known.inputs.items() if name in tally.inputs]
    scans = [_compare(name, shape, tally.scans[name]) for name, shape in known.scans.items() if name in tally.scans]
    judged = _holm([*inputs, *scans])
    shifted = tuple(one.input for one in judged if one.shifted or one.missing_shifted)
    verdict, remark = _verdict(judged, shifted, tally.rows)
    return ShiftReport(
        verdict, remark, tally.rows, shifted, tuple(judged[: len(inputs)]), tuple(judged[len(inputs) :]), predicted,
        calibration,
    )  # fmt: skip


def _verdict(judged: Sequence[Compared], shifted: Sequence[str], rows: int) -> tuple[str, str]:
    compared = [one for one in judged if one.p is not None or one.missing_p is not None]
    if rows < FEWEST or not compared:
        return f"not compared: fewer than {FEWEST} patients with values", ""
    remark = f"{rows} patients: only large shifts would show" if rows < SMALL_COHORT else ""
    if not shifted:
        return "no shift found", remark
    named = ", ".join(_words(one) for one in judged if one.input in shifted[:_NAMED])
    more = f" and {len(shifted) - _NAMED} more" if len(shifted) > _NAMED else ""
    return f"shifted: {named}{more}", remark


def _words(one: Compared) -> str:
    if one.unit_suspicion and one.factor is not None:
        return f"{one.input} (median {one.factor:.2g} times that of the training: another unit?)"
    if one.missing_shifted and not one.shifted:
        return f"{one.input} (missing in {100 * one.missing:.0f} %, in training {100 * one.missing_training:.0f} %)"
    return one.input


def _compare(name: str, shape: InputShape, column: Column) -> Compared:
    here, there = sum(column.counts), sum(shape.counts)
    found = Compared(
        input=name, n=here, missing=_share(column.missing, here), missing_training=_share(shape.missing, there), bins=0,
        psi=None, p=None, missing_p=None,
    )  # fmt: skip
    values: dict[str, Any] = {}
    if here + column.missing >= FEWEST and there + shape.missing and column.missing + shape.missing:
        values["missing_p"] = two_shares(column.missing, here, shape.missing, there)
    if here < FEWEST or there < FEWEST or len(shape.counts) < 2:
        return _with(found, values)
    old, new = np.array(shape.counts, dtype=float), np.array(column.counts, dtype=float)
    if shape.levels:
        values["unseen"] = float(new[-1] / here) if shape.levels != ("true", "false") else None
        values["p"], merged = _categories_differ(old, new)
    else:
        values["p"], merged = _numbers_differ(old, new)
        values["factor"] = _factor(shape, column)
    values["bins"], values["psi"] = len(merged[0]), psi(*merged)
    return _with(found, values)


def _with(found: Compared, values: Mapping[str, Any]) -> Compared:
    rounded = {name: round(v, 12) if isinstance(v, float) else v for name, v in values.items()}
    return Compared(**(asdict(found) | rounded))


def _share(part: int, rest: int) -> float:
    return round(part / (part + rest), 6) if part + rest else 0.0


def psi(old: np.ndarray, new: np.ndarray) -> float:
    """Population stability index of two sets of counts, half a patient added to each bin.

    >>> psi(np.array([50.0, 50.0]), np.array([50.0, 50.0]))
    0.0
    """
    p, q = (old + 0.5) / (old + 0.5).sum(), (new + 0.5) / (new + 0.5).sum()
    return float(((q - p) * np.log(q / p)).sum())


def _numbers_differ(old: np.ndarray, new: np.ndarray) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    """Smaller p of two tests, doubled: of the bins, and of the mean rank, which sees small cohorts move."""
    merged = _merge(old, new)
    tests = [_ridit_p(old, new)]
    if len(merged[0]) > 1:
        tests.append(chi_squared_p(*merged))
    return min(1.0, len(tests) * min(tests)), merged


def _categories_differ(old: np.ndarray, new: np.ndarray) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    """Smaller p of two tests, doubled: of the categories, and of what is in none of the training's."""
    order = np.argsort(-old[:-1], kind="stable")
    sorted_old, sorted_new = np.append(old[:-1][order], old[-1]), np.append(new[:-1][order], new[-1])
    merged = _merge(sorted_old, sorted_new)
    tests = [two_shares(int(new[-1]), int(new[:-1].sum()), int(old[-1]), int(old[:-1].sum()))] if new[-1] else []
    if len(merged[0]) > 2:
        tests.append(chi_squared_p(*merged))
    else:
        first = int(order[0])
        tests.append(
            two_shares(int(new[first]), int(new.sum() - new[first]), int(old[first]), int(old.sum() - old[first]))
        )
    return min(1.0, len(tests) * min(tests)), merged


def _merge(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring bins joined until five patients are expected in each."""
    expected = (old + 0.5) / (old + 0.5).sum() * new.sum()
    groups: list[list[int]] = [[]]
    for k in range(old.size):
        groups[-1].append(k)
        if expected[groups[-1]].sum() >= _EXPECTED and old[groups[-1]].sum() >= _EXPECTED:
            groups.append([])
    rest = groups.pop()
    if rest and groups:
        groups[-1] += rest
    elif rest:
        groups.append(rest)
    return np.array([old[g].sum() for g in groups]), np.array([new[g].sum() for g in groups])


def chi_squared_p(old: np.ndarray, new: np.ndarray) -> float:
    """Probability of a difference in bins as large or larger where the training and the cohort are of one kind.

    The Pearson form of PSI x n m / (n + m). With edges between values of the training, the counts of a new cohort are
    Dirichlet-multinomial, and the tail of the statistic is longer than that of chi-squared where the training is the
    smaller of the two. Mean, variance and skewness come from simulated counts (fixed seed); the tail is that of the
    gamma distribution with the same three, of which chi-squared is one.
    """
    alpha, m = old + 0.5, int(new.sum())
    statistic = float(_distance(new, alpha))
    near = float(chdtrc(old.size - 1, statistic * (1 + alpha.sum()) / (m + alpha.sum())))
    if near > _CLEAR:
        return near
    generator = np.random.default_rng(0)
    share = generator.standard_gamma(alpha, size=(_NULL_DRAWS, alpha.size))
    null = _distance(generator.multinomial(m, share / share.sum(axis=1, keepdims=True)), alpha)
    mean, deviation = null.mean(), null.std()
    skewness = max(float(((null - mean) ** 3).mean() / deviation**3), 0.1)
    shape, scale = 4 / skewness**2, deviation * skewness / 2
    beyond = (statistic - (mean - shape * scale)) / scale
    return float(gammaincc(shape, max(beyond, 0.0)))


def _distance(counts: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    expected = alpha / alpha.sum() * counts.sum(axis=-1, keepdims=True)
    return np.asarray(((counts - expected) ** 2 / expected).sum(axis=-1))


def _ridit_p(old: np.ndarray, new: np.ndarray) -> float:
    """Two-sided probability of a mean rank among the training as far from the middle."""
    share = old / old.sum()
    ridit = np.cumsum(share) - share / 2
    variance = float(share @ ridit**2) - 0.25
    if variance <= 0:
        return 1.0
    z = (float(new @ ridit) / new.sum() - 0.5) / np.sqrt(variance * (1 / new.sum() + 1 / old.sum()))
    return float(2 * ndtr(-abs(z)))


def two_shares(a: int, rest_a: int, b: int, rest_b: int) -> float:
    """Two-sided probability of two shares as different: chi-squared, or exact (Fisher, doubled) for few patients.

    >>> round(two_shares(3, 7, 0, 90), 6)
    0.001484
    """
    total, positive, ours = a + rest_a + b + rest_b, a + b, a + rest_a
    if min(ours, total - ours) * min(positive, total - positive) / total >= _EXACT:
        counts = np.array([[a, rest_a], [b, rest_b]], dtype=float)
        expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
        return float(chdtrc(1, ((counts - expected) ** 2 / expected).sum()))
    if positive > total - positive:  # the rarer of the two is counted
        a, rest_a, b, rest_b = rest_a, a, rest_b, b
        positive = a + b
    low, high = max(0, positive - (total - ours)), min(positive, ours)
    k = np.arange(low, high + 1)
    weight = _log_choose(ours, k) + _log_choose(total - ours, positive - k) - _log_choose(total, np.array(positive))
    probability = np.exp(weight)
    tails = probability[k <= a].sum(), probability[k >= a].sum()
    return float(min(1.0, 2 * min(tails)))


def _log_choose(n: int, k: np.ndarray) -> np.ndarray:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def _factor(shape: InputShape, column: Column) -> float | None:
    """Median of the positive values over the middle of the training; to about 6 %."""
    positive = sum(column.scale.values())
    if shape.middle is None or shape.middle <= 0 or 2 * positive <= sum(column.counts):
        return None
    keys = sorted(column.scale)
    running = np.cumsum([column.scale[key] for key in keys])
    # Values that are not positive lie below all others.
    rank = sum(column.counts) / 2 - (sum(column.counts) - positive)
    key = keys[int(np.searchsorted(running, rank))]
    return float(10 ** ((key + 0.5) / PER_DECADE) / shape.middle)


def _holm(found: Sequence[Compared]) -> list[Compared]:
    """Marks what differs by more than chance, in the tests of all inputs together."""
    tests = [
        (p, n, kind)
        for n, one in enumerate(found)
        for kind in ("p", "missing_p")
        if (p := getattr(one, kind)) is not None
    ]
    marked: set[tuple[int, str]] = set()
    for rank, (p, n, kind) in enumerate(sorted(tests)):
        if p * (len(tests) - rank) > ALPHA:
            break
        marked.add((n, kind))
    judged = []
    for n, one in enumerate(found):
        shifted = (n, "p") in marked
        off = one.factor is not None and not 1 / UNIT_FACTOR < one.factor < UNIT_FACTOR
        changes = {
            "shifted": shifted,
            "missing_shifted": (n, "missing_p") in marked,
            "unit_suspicion": shifted and off and _has_unit(one.input),
        }
        judged.append(Compared(**(asdict(one) | changes)))
    return judged


def _has_unit(column: str) -> bool:
    spec = load_schema("clinical").columns.get(column)
    return spec is not None and spec.type == "float" and bool(spec.unit)


def _calibration(tally: Tally, month: int) -> Calibration | None:
    """Observed incidence (Aalen-Johansen, by whole months) over the mean probability."""
    n, total = tally.expected[month]
    expected = total / SUM_UNIT / n if n else 0.0
    pairs = [(int(code), int(at), times) for name, times in tally.followed.items() for code, at in [name.split(":")]]
    if n < FEWEST or expected <= 0 or not any(at >= month for _, at, _ in pairs):
        return None
    codes, months, times = (np.array(part) for part in zip(*pairs, strict=True))
    curve = aalen_johansen(np.repeat(codes, times), np.repeat(months, times))
    observed = float(curve.at(month))
    lower, upper = (float(limit) for limit in curve.limits_at(month))
    low, high = lower / expected, upper / expected
    reading = "predictions too low" if low > 1 else "predictions too high" if high < 1 else "in line with predictions"
    return Calibration(
        month, n, round(expected, 6), round(observed, 6), round(observed / expected, 4), round(low, 4), round(high, 4),
        reading,
    )  # fmt: skip
