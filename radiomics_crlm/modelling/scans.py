"""Scans that radiomic inputs come from: which one of a patient counts, and what changed between two of them.

Inputs that are there or missing together form a block: those of one kind of scan at one moment. Training and scoring
choose scans here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict

from radiomics_crlm.config import FeatureSetConfig, RadiomicsSelection
from radiomics_crlm.errors import InputError, LeakError
from radiomics_crlm.schema import AVAILABILITY, is_later, later_than

NamedMoment = Literal["", "baseline", "restaging", "preoperative"]
Change = Literal["", "absolute", "relative"]

CHANGE_FROM: Literal["baseline"] = "baseline"
CHANGE_TO: Literal["restaging"] = "restaging"
"""Time points between which a change is measured."""
_CHANGE_WORDS = {"absolute": "delta", "relative": "relative_delta"}


@dataclass(frozen=True)
class ScanSelection:
    """A kind of scan that radiomics inputs are taken from."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    modality: str
    sequence: str

    def __str__(self) -> str:
        return f"{self.modality}/{self.sequence}"


@dataclass(frozen=True)
class ScanBlock:
    """Radiomic inputs of one kind of scan at one moment.

    Parameters
    ----------
    scans
        Kind of scan.
    moment
        Time point; empty: the latest scan that is known when the model speaks.
    change
        ``absolute``: later minus earlier value (baseline to restaging); ``relative``: the same divided by the size of
        the earlier value, null where that is 0; empty: the values themselves.
    prefix
        What distinguishes names of its inputs; empty if the feature set has nothing to confuse them with.
    patterns
        Shell patterns of columns of ``features_patient``.
    required
        Whether patients who lack the scan are left out of the study.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    scans: ScanSelection
    moment: NamedMoment = ""
    change: Change = ""
    prefix: str = ""
    patterns: tuple[str, ...] = ()
    required: bool = True

    @property
    def label(self) -> str:
        """The scans in words.

        >>> ScanBlock(ScanSelection("MR", "hbp"), "restaging").label
        'MR/hbp at restaging'
        """
        if self.change:
            return f"{self.scans} at {CHANGE_FROM} and {CHANGE_TO}"
        return f"{self.scans} at {self.moment}" if self.moment else str(self.scans)

    @property
    def plain(self) -> bool:
        """Whether it is the only kind of scan of a feature set, without a named moment."""
        return not (self.moment or self.prefix)

    @property
    def moments(self) -> tuple[NamedMoment, ...]:
        """Time points of the scans that are needed; empty text: the latest known."""
        return (CHANGE_FROM, CHANGE_TO) if self.change else (self.moment,)

    def wants(self, column: str, exclude: Collection[str] = ()) -> bool:
        """Whether a column of ``features_patient`` is asked for; exclusions may name it with or without the prefix."""
        return any(fnmatchcase(column, pattern) for pattern in self.patterns) and not any(
            fnmatchcase(name, pattern) for name in {column, self.prefix + column} for pattern in exclude
        )


@dataclass(frozen=True)
class ScanChoice:
    """The scan of each patient (index ``patient_id``) and the patients for whom there is none.

    ``ambiguous`` have several equally late scans; ``only_later`` have scans, but all after the moment of prediction.
    """

    table: pd.DataFrame
    ambiguous: frozenset[str]
    only_later: frozenset[str]


def blocks_of(feature_set: FeatureSetConfig) -> tuple[ScanBlock, ...]:
    """Blocks of radiomic inputs of a feature set, in an order that does not depend on that of its selections.

    Selections of the same scans and moment are one block. Where a feature set has several kinds of scans, patients who
    lack one of them are kept, unless the selection says otherwise.

    >>> from radiomics_crlm.config import RadiomicsSelection
    >>> both = (RadiomicsSelection(modality="MR", sequence="hbp"), RadiomicsSelection(timepoints=("baseline",)))
    >>> [block.prefix for block in blocks_of(FeatureSetConfig(title="CT and MR", radiomics=both))]
    ['CT.portal_venous.baseline:', 'MR.hbp:']
    """
    selections = feature_set.selections
    several = len({(wanted.modality, wanted.sequence) for wanted in selections}) > 1
    found: dict[tuple[str, ...], ScanBlock] = {}
    for wanted in selections:
        required = wanted.missing == "exclude" if wanted.missing else not several
        for moment, change in _moments(wanted):
            kind = ScanSelection(wanted.modality, wanted.sequence)
            names = ([f"{kind.modality}.{kind.sequence}"] if several else []) + [_CHANGE_WORDS.get(change, moment)]
            prefix = "".join(f"{name}." for name in names if name)
            key = (kind.modality, kind.sequence, moment, change)
            block = ScanBlock(kind, moment, change, f"{prefix[:-1]}:" if prefix else "", wanted.columns, required)
            if key in found:
                both = tuple(sorted({*found[key].patterns, *block.patterns}))
                block = replace(block, patterns=both, required=required or found[key].required)
            found[key] = block
    return tuple(found[key] for key in sorted(found, key=_order))


def refuse_late_scans(blocks: Iterable[ScanBlock], speaks_at: str) -> None:
    """Refuse blocks whose moment is named and comes only after the model speaks.

    Raises
    ------
    LeakError
        Naming the scans and when they are made. This holds where a leak of clinical columns is being studied, too.
    """
    if late := later_than({f"the scan {block.label}": block.moment for block in blocks if block.moment}, speaks_at):
        raise LeakError(
            "scans that are made only later are refused: " + "; ".join(refusal.sentence() for refusal in late),
            remedy="ask for earlier time points, or for an endpoint that is foreseen later",
        )


def _order(key: tuple[str, ...]) -> tuple[object, ...]:
    modality, sequence, moment, change = key
    return modality, sequence, change, AVAILABILITY.index(moment) if moment else -1


def _moments(wanted: RadiomicsSelection) -> list[tuple[NamedMoment, Change]]:
    if not wanted.timepoints:
        return [("", "")]
    levels: list[tuple[NamedMoment, Change]] = [(moment, "") for moment in wanted.timepoints if moment != "delta"]
    changes: list[tuple[NamedMoment, Change]] = [
        (CHANGE_TO, change) for change in wanted.change or ("absolute", "relative")
    ]
    return levels + (changes if "delta" in wanted.timepoints else [])


def as_blocks(scans: ScanSelection | Sequence[ScanBlock] | None) -> tuple[ScanBlock, ...]:
    """Blocks, also of a single kind of scan."""
    if isinstance(scans, ScanSelection):
        return (ScanBlock(scans),)
    return tuple(scans or ())


def by_block(names: Iterable[str], blocks: Sequence[ScanBlock]) -> dict[ScanBlock, list[str]]:
    """Radiomic inputs of each block, in their own order: the block of an input is the one of the longest prefix."""
    ranked = sorted(blocks, key=lambda block: -len(block.prefix))
    found: dict[ScanBlock, list[str]] = {block: [] for block in blocks}
    for name in names:
        found[next(block for block in ranked if name.startswith(block.prefix))].append(name)
    return found


def choose_scans(features_patient: pd.DataFrame, scans: ScanSelection, *, speaks_at: str) -> ScanChoice:
    """The latest scan of each patient that is known when the model speaks; later scans are never used.

    Among scans of the same time point the latest ``study_day`` counts, where the table has it.
    """
    matching = matching_scans(features_patient, scans)
    order = matching["timepoint"].map({moment: rank for rank, moment in enumerate(AVAILABILITY)})
    if order.isna().any():
        raise InputError("a scan has an unknown time point", where="features_patient", expected=", ".join(AVAILABILITY))
    known = order <= AVAILABILITY.index(speaks_at)
    day = matching["study_day"] if "study_day" in matching else pd.Series(np.nan, index=matching.index)
    keys = ["patient_id", "moment", "day"]
    every = pd.DataFrame({"patient_id": matching["patient_id"], "moment": order, "day": day.astype("float64")})
    ranked = every.fillna({"day": -np.inf}).assign(row=np.arange(len(every)))[known]
    best = ranked.sort_values(keys, kind="stable").groupby("patient_id").tail(1)
    ties = best[keys].merge(ranked[keys], on=keys).groupby("patient_id").size()
    ambiguous = frozenset(map(str, ties.index[ties > 1]))
    chosen = matching.iloc[best["row"]].set_index("patient_id")
    only_later = frozenset(map(str, set(matching["patient_id"]) - set(ranked["patient_id"])))
    return ScanChoice(chosen[~chosen.index.isin(list(ambiguous))], ambiguous, only_later)


def select_scans(features_patient: pd.DataFrame, scans: ScanSelection, *, speaks_at: str) -> pd.DataFrame:
    """Features of the scan of each patient (:func:`choose_scans`), with the index ``patient_id``.

    Raises
    ------
    InputError
        If a patient has several equally late scans: which one counts is not guessed.
    """
    choice = choose_scans(features_patient, scans, speaks_at=speaks_at)
    if choice.ambiguous:
        raise InputError(
            f"{len(choice.ambiguous)} patients have several {scans} scans of one time point",
            where=f"patient {min(choice.ambiguous)}",
            expected="one scan, or different study_day",
        )
    return choice.table


def matching_scans(features: pd.DataFrame, scans: ScanSelection) -> pd.DataFrame:
    """Rows of a kind of scan."""
    rows = (features["modality"] == scans.modality) & (features["sequence"] == scans.sequence)
    return features[rows.fillna(False).astype(bool)]


def choose_block(features_patient: pd.DataFrame, block: ScanBlock, *, speaks_at: str) -> ScanChoice:
    """The scan of each patient that a block is taken from (the later one of a change; its table has who has both)."""
    if not block.moment:
        return choose_scans(features_patient, block.scans, speaks_at=speaks_at)
    choices = [
        choose_scans(features_patient[features_patient["timepoint"] == moment], block.scans, speaks_at=moment)
        for moment in block.moments
    ]
    table = choices[-1].table
    for choice in choices:
        table = table[table.index.isin(choice.table.index)]
    return ScanChoice(table, frozenset().union(*(choice.ambiguous for choice in choices)), frozenset())


def block_values(
    features_patient: pd.DataFrame, block: ScanBlock, columns: Sequence[str], *, speaks_at: str
) -> pd.DataFrame:
    """Values of a block: rows are patients who have its scans, columns those of ``features_patient``.

    Raises
    ------
    InputError
        As :func:`select_scans`.
    """
    names = list(columns)
    if not block.moment:
        return select_scans(features_patient, block.scans, speaks_at=speaks_at)[names]

    def at(moment: str) -> pd.DataFrame:
        rows = features_patient[features_patient["timepoint"] == moment]
        return select_scans(rows, block.scans, speaks_at=moment)[names].astype("Float64").astype("float64")

    if not block.change:
        return at(block.moment)
    before, after = at(CHANGE_FROM), at(CHANGE_TO)
    both = before.index[before.index.isin(after.index)]
    before, after = before.loc[both], after.loc[both]
    change = after - before
    return change if block.change == "absolute" else change / before.abs().where(before != 0)


def moments_known(
    features_patient: pd.DataFrame, scans: ScanSelection, *, speaks_at: str
) -> tuple[list[str], list[str]]:
    """Time points at which the cohort has scans of a kind: those known when the model speaks, and the later ones."""
    moments = matching_scans(features_patient, scans)["timepoint"].unique()
    present = [moment for moment in AVAILABILITY if moment in moments]
    return [m for m in present if not is_later(m, speaks_at)], [m for m in present if is_later(m, speaks_at)]
