"""Scores of a block of rows: one task of a batch.

Every number of a row depends on this row alone, so that blocks may be of any size, in any order, on any machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm import clinical
from radiomics_crlm.cohort.endpoints import build_outcome
from radiomics_crlm.config import CohortNotes
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling.design import InputSpec
from radiomics_crlm.schema import check_table
from radiomics_crlm.scoring.admission import FIRST_ROW, Admission, Imaging, Mask, admit, known_columns
from radiomics_crlm.scoring.bundle import Bundle, BundleContent, computable, spoken_horizons
from radiomics_crlm.scoring.flags import row_flags
from radiomics_crlm.scoring.intervals import interval_columns, interval_names
from radiomics_crlm.scoring.novelty import FLAG, out_of_distribution
from radiomics_crlm.scoring.shift import Tally

CONTRIBUTORS = "top_contributors"
_MOST_CONTRIBUTORS = 5
_TEXTS = ("patient_id", "endpoint", "model", "status", "code", "reason", "flags", CONTRIBUTORS, "bundle_sha256")


@dataclass(frozen=True)
class Block:
    """Rows to score: those of ``raw``, of which the first is row ``start`` (from 0) of the whole table.

    ``repeated`` says which keys stand in several rows of it; ``imaging`` is about these patients.
    """

    bundle: Bundle
    notes: CohortNotes
    raw: pd.DataFrame
    start: int
    repeated: Mask
    imaging: Imaging
    attributions: bool = False


@dataclass(frozen=True)
class Account:
    """Counts of a block, or of several (their sum).

    ``base`` is the value from which attributions start, None without attributions (or without any scored row).
    """

    rows: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    base: float | None = None
    tally: Tally = field(default_factory=Tally)

    def __add__(self, other: Account) -> Account:
        base = other.base if self.base is None else self.base
        codes, flags = self.codes + other.codes, self.flags + other.flags
        return Account(self.rows + other.rows, codes, flags, base, self.tally + other.tally)

    def to_json(self) -> dict[str, Any]:
        """The counts as plain JSON."""
        return {
            "rows": self.rows,
            "codes": dict(self.codes),
            "flags": dict(self.flags),
            "base": self.base,
            "tally": self.tally.to_json(),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Account:
        """Counts from :meth:`to_json`."""
        codes, flags = Counter(state["codes"]), Counter(state["flags"])
        return cls(int(state["rows"]), codes, flags, state["base"], Tally.from_json(state["tally"]))


@dataclass(frozen=True)
class Scored:
    """Result of a block: rows of ``scores`` and of ``score_attributions`` (if asked for), and their account."""

    scores: pd.DataFrame
    attributions: pd.DataFrame | None
    account: Account


@dataclass(frozen=True)
class Numbers:
    """What the model says of the rows (``places``) for which it gives finite numbers."""

    places: npt.NDArray[np.intp]
    table: pd.DataFrame
    risk: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    spoken: tuple[int, ...]


def score_rows(block: Block) -> Scored:
    """Score the rows of a block; each row comes back, with a risk or with a reason."""
    content = block.bundle.content
    found = admit(content, block.raw, block.imaging, block.notes, repeated=block.repeated)
    predictors = found.predictors
    numbers = numbers_of(block.bundle, predictors)
    flags = _flags(found, content, numbers, block.bundle)
    found.abstain(
        found.at(np.setdiff1d(predictors.index, numbers.places)),
        "no_result",
        "the model gives no finite number for these inputs",
    )
    rows = len(block.raw)
    cells: dict[str, Any] = {name: np.full(rows, np.nan) for name in column_names(block.bundle, block.attributions)}
    cells |= {name: np.full(rows, None, dtype=object) for name in cells if _is_text(name)}
    cells["row"] = np.arange(block.start + FIRST_ROW, block.start + FIRST_ROW + rows)
    cells["patient_id"] = found.clinical["patient_id"]
    cells |= {"endpoint": content.endpoint, "model": content.model, "bundle_sha256": block.bundle.sha256}
    cells |= {"status": np.where(found.open, "scored", "abstained"), "code": found.codes, "reason": found.reasons}
    cells["flags"][predictors.index] = [";".join(words) or None for words in flags]
    cells["risk"][numbers.places] = numbers.risk
    for column, month in enumerate(numbers.spoken):
        cells[f"probability_{month}m"][numbers.places] = numbers.probability[:, column]
    intervals = interval_columns(
        content, block.bundle.model, numbers.table, numbers.risk, numbers.probability, numbers.spoken
    )
    for name, values in intervals.items():
        cells[name][numbers.places] = values
    for name, values in _rule_cells(found, content, block.notes).items():
        cells[name][found.readable] = values
    attributions, base = None, None
    if block.attributions:
        attributions, base, cells[CONTRIBUTORS][numbers.places] = _attributed(block, found, numbers)
    texts = {
        name: pd.array(cells[name], dtype="str")
        for name in cells
        if isinstance(cells[name], np.ndarray) and _is_text(name)
    }
    scores = check_table(pd.DataFrame(cells | texts), "scores")
    return Scored(scores, attributions, _account(found, content, numbers, flags, base))


def column_names(bundle: Bundle, attributions: bool) -> list[str]:
    """Columns of the scores, in order."""
    content = bundle.content
    rules = [name for rule in content.rules for name in (f"rule__{rule}", f"rule__{rule}__score")]
    front = ["row", "patient_id", "endpoint", "model", "status", "code", "reason", "flags", "risk"]
    probabilities = [f"probability_{month}m" for month in content.horizons]
    why = [CONTRIBUTORS] if attributions else []
    return [*front, *probabilities, *interval_names(content), *why, *rules, "bundle_sha256"]


def _is_text(name: str) -> bool:
    return name in _TEXTS or name.startswith("outcome_") or (name.startswith("rule__") and not name.endswith("__score"))


def numbers_of(bundle: Bundle, predictors: pd.DataFrame) -> Numbers:
    """What a model computes of predictors that may be looked at (indexed by position)."""
    table = _known_categories(predictors, bundle.content.inputs)
    spoken = spoken_horizons(bundle.content, bundle.model)
    with np.errstate(all="ignore"):
        inputs = bundle.model.transform(table)
        fit = computable(inputs)
        risk, probability = bundle.model.predictions(inputs[fit], spoken)
    finite = np.isfinite(risk) & np.isfinite(probability).all(axis=1)
    table = table[fit][finite]
    return Numbers(table.index.to_numpy(dtype=np.intp), table, risk[finite], probability[finite], spoken)


def _known_categories(table: pd.DataFrame, inputs: Sequence[InputSpec]) -> pd.DataFrame:
    """A category that the model has no number for is unknown to it."""
    known = {s.name: table[s.name].where(table[s.name].isin(s.categories)) for s in inputs if s.kind == "category"}
    return table.assign(**known)


def _flags(found: Admission, content: BundleContent, numbers: Numbers, bundle: Bundle) -> list[tuple[str, ...]]:
    """Flags of the rows of the predictors."""
    table = found.predictors
    strange = np.zeros(len(table), dtype=bool)
    strange[table.index.isin(numbers.places)] = out_of_distribution(content, bundle.model, numbers.table)
    flags = row_flags(table, content.inputs, content.training, more={FLAG: strange})
    if not found.scan_flags:
        return flags
    keys = found.clinical["patient_id"].iloc[table.index]
    words = [[w for w in found.scan_flags.get(key, "").split(";") if w] for key in keys]
    return [(*row, *(f"scan:{word}" for word in scan)) for row, scan in zip(flags, words, strict=True)]


def _rule_cells(found: Admission, content: BundleContent, notes: CohortNotes) -> dict[str, np.ndarray]:
    """Words and number of each rule for the rows that can be read."""
    table = known_columns(found.clinical[found.readable], notes, content.speaks_at).reset_index(drop=True)
    if not len(table):
        return {}
    shown = clinical.shown(table, content.rules)
    words = {f"rule__{rule}": text for rule, (text, _) in shown.items()}
    return words | {f"rule__{rule}__score": number for rule, (_, number) in shown.items()}


def _attributed(block: Block, found: Admission, numbers: Numbers) -> tuple[pd.DataFrame, float | None, np.ndarray]:
    """SHAP values of the scored rows, one row per input; where they start; and the largest of each row in words."""
    values, base = block.bundle.model.contributions(numbers.table)
    names, matrix = values.columns.to_numpy(dtype=object), values.to_numpy()
    width = len(names)
    keys = found.clinical["patient_id"].iloc[numbers.places].to_numpy(dtype=object)
    table = pd.DataFrame(
        {
            "row": np.repeat(numbers.places + block.start + FIRST_ROW, width),
            "patient_id": pd.array(np.repeat(keys, width), dtype="str"),
            "feature": pd.array(np.tile(names, len(keys)), dtype="str"),
            "attribution": matrix.ravel(),
        }
    )
    # A stable order: equal contributions in the order of the inputs.
    order = np.argsort(-np.abs(matrix), axis=1, kind="stable")[:, :_MOST_CONTRIBUTORS]
    largest = np.take_along_axis(matrix, order, axis=1).tolist()
    words = np.full(len(keys), None, dtype=object)
    words[:] = [
        "; ".join(f"{names[k]} {value:+.2f}" for k, value in zip(places, row, strict=True) if round(value, 2)) or None
        for places, row in zip(order.tolist(), largest, strict=True)
    ]
    return check_table(table, "score_attributions"), float(base[0]) if len(base) else None, words


def _account(
    found: Admission, content: BundleContent, numbers: Numbers, flags: list[tuple[str, ...]], base: float | None
) -> Account:
    words: Counter[str] = Counter()
    for row, count in Counter(flags).items():
        for flag in row:
            words[flag.split(":")[0]] += count
    codes = Counter(found.codes[~found.open].tolist())
    return Account(len(found.open), codes, words, base, _tally(found, content, numbers))


def _tally(found: Admission, content: BundleContent, numbers: Numbers) -> Tally:
    """Counts of the scored rows; those whose outcome is known are compared with it."""
    scored = found.clinical.iloc[numbers.places]
    known = np.zeros(len(scored), dtype=bool)
    try:
        outcomes = build_outcome(scored, content.definition, content.endpoint).table
        known = scored["patient_id"].isin(outcomes["patient_id"]).to_numpy(dtype=bool)
    except ConfigError:  # the table has no outcomes, as is usual
        outcomes = pd.DataFrame()
    total = Tally()
    for chosen, outcome in ((~known, None), (known, outcomes)):
        if chosen.any():
            seen = None if outcome is None else make_outcome(outcome["event"], outcome["months"])
            total += Tally.of(
                content,
                numbers.table[chosen],
                scored[chosen],
                numbers.probability[chosen],
                spoken=numbers.spoken,
                outcome=seen,
            )
    return total
