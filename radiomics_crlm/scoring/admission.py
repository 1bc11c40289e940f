"""Which rows of a cohort a bundle can score, and why not the others. A bad row costs itself, never the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm.cohort.units import canonical_units
from radiomics_crlm.config import CohortNotes
from radiomics_crlm.errors import InputError, LeakError
from radiomics_crlm.modelling.design import ScanChoice, assemble, availability
from radiomics_crlm.modelling.scans import ScanBlock, by_block, choose_block
from radiomics_crlm.schema import ParsedTable, is_later, later_than, load_schema, parse_table
from radiomics_crlm.scoring.bundle import BundleContent

FIRST_ROW = 2
"""Number of the first data row, as a spreadsheet shows it below the header."""
_SCAN_KEY = ["patient_id", "timepoint", "modality", "sequence"]
_HOW_MADE = ["settings_hash", "engine"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Imaging:
    """Radiomics of a cohort: ``features_patient``, and how they were made.

    ``features_lesion`` (or the same columns in ``features_patient``) names ``settings_hash`` and ``engine`` of
    each scan. ``exclusions`` are scans that yielded nothing, to say so in the reason.
    """

    features_patient: pd.DataFrame | None = None
    features_lesion: pd.DataFrame | None = None
    exclusions: pd.DataFrame | None = None

    def of(self, keys: pd.Series) -> Imaging:
        """The part that is about some patients."""

        def part(table: pd.DataFrame | None) -> pd.DataFrame | None:
            return None if table is None else table[table["patient_id"].isin(keys)].reset_index(drop=True)

        return Imaging(part(self.features_patient), part(self.features_lesion), part(self.exclusions))


@dataclass
class Admission:
    """Verdict on every row, by position.

    ``clinical`` is the typed table of all rows (bad cells null) and ``readable`` says which of them may be looked
    at at all; rows that are still ``open`` have no ``code`` and are scored. ``predictors`` holds those rows, indexed
    by position.
    """

    clinical: pd.DataFrame
    open: Mask
    readable: Mask
    codes: npt.NDArray[np.object_]
    reasons: npt.NDArray[np.object_]
    predictors: pd.DataFrame = field(default_factory=pd.DataFrame)
    scan_flags: dict[str, str] = field(default_factory=dict)

    def abstain(self, where: Mask, code: str, reason: str) -> None:
        """Note why rows are not scored; the first reason of a row stands."""
        chosen = where & self.open
        self.codes[chosen], self.reasons[chosen] = code, reason
        self.open &= ~where

    def among(self, keys: Iterable[str]) -> Mask:
        """Which rows are of these patients."""
        return self.clinical["patient_id"].isin(list(keys)).to_numpy(dtype=bool)

    def at(self, positions: npt.NDArray[np.intp]) -> Mask:
        """Positions as a mask."""
        mask = np.zeros(len(self.open), dtype=bool)
        mask[positions] = True
        return mask


def check_cohort(
    content: BundleContent, clinical: pd.DataFrame, imaging: Imaging, notes: CohortNotes
) -> tuple[str, ...]:
    """Refuse faults of a whole cohort before any row is looked at; some rows of the clinical table, or none, suffice.

    Returns
    -------
    The clinical inputs of the model that the table does not have at all.

    Raises
    ------
    InputError
        For unknown, repeated or missing columns, or radiomics of unknown make or without the columns of the model.
    LeakError
        If the cohort declares an input of the model to be known only after the model speaks.
    """
    _refuse_late(content, notes)
    nobody = _typed(clinical.head(0), notes).table
    absent = tuple(s.name for s in content.inputs if s.source == "clinical" and s.name not in nobody)
    if not content.needs_radiomics or imaging.features_patient is None:
        return absent
    for block in content.sources:
        choose_block(imaging.features_patient, block, speaks_at=content.speaks_at)
        _faults_of_make(block, content, imaging)
    nothing = imaging.features_patient.head(0)
    assemble(nobody, nothing, content.inputs, content.sources, speaks_at=content.speaks_at)
    return absent


def admit(
    content: BundleContent, clinical_raw: pd.DataFrame, imaging: Imaging, notes: CohortNotes, *, repeated: Mask
) -> Admission:
    """Check rows of a raw clinical table against what a bundle needs; the table passed :func:`check_cohort`.

    Parameters
    ----------
    content, imaging, notes
        The bundle and the cohort.
    clinical_raw
        Some rows of the clinical table.
    repeated
        Which of them have a key that stands in several rows of the whole table.
    """
    parsed = _typed(clinical_raw, notes)
    rows = len(parsed.table)
    nothing = np.full(rows, None, dtype=object)
    found = Admission(parsed.table, np.ones(rows, dtype=bool), np.zeros(rows, dtype=bool), nothing, nothing.copy())
    keyless = found.clinical["patient_id"].isna().to_numpy(dtype=bool)
    found.abstain(keyless, "missing_key", "column patient_id: empty, expected a patient key")
    found.abstain(repeated, "duplicate_patient", "column patient_id: the key stands in several rows")
    for problem in parsed.problems:
        text = f"column {problem.column}: {problem.code.replace('_', ' ')}, expected {problem.expected}"
        position = problem.row - FIRST_ROW
        if found.codes[position] == problem.code:
            found.reasons[position] = f"{found.reasons[position]}; {text}"
        elif found.open[position]:
            found.codes[position], found.reasons[position], found.open[position] = problem.code, text, False
    found.readable = found.open.copy()
    _check_population(found, content)
    if content.needs_radiomics:
        _check_scans(found, content, imaging)
    _take_predictors(found, content, imaging.features_patient)
    return found


def _typed(raw: pd.DataFrame, notes: CohortNotes) -> ParsedTable:
    """Typed rows, their units made canonical as when a cohort is trained on."""
    schema, ignored = load_schema("clinical"), set(notes.ignore_columns)
    wanted = raw[[column for column in raw.columns if str(column).strip() not in ignored]]
    return parse_table(canonical_units(wanted, schema, notes).table, schema)


def known_columns(clinical: pd.DataFrame, notes: CohortNotes, speaks_at: str) -> pd.DataFrame:
    """Columns of the clinical table that are known when the model speaks: its rules see no more than it does."""
    when = availability(load_schema("clinical"), notes.available_at)
    return clinical[[column for column in clinical.columns if not is_later(when[column], speaks_at)]]


def _refuse_late(content: BundleContent, notes: CohortNotes) -> None:
    when = availability(load_schema("clinical"), notes.available_at)
    wanted = {spec.name: when[spec.name] for spec in content.inputs if spec.source == "clinical"}
    if late := later_than(wanted, content.speaks_at):
        raise LeakError(
            "this cohort knows inputs of the model too late: " + "; ".join(r.sentence() for r in late),
            where="cohort.yaml: available_at",
            remedy="score with a model that does not need them",
        )


def _check_population(found: Admission, content: BundleContent) -> None:
    nothing = pd.Series([None] * len(found.clinical), dtype="object")
    for column, value in content.definition.population.items():
        cells = found.clinical.get(column, nothing)
        unknown = cells.isna().to_numpy(dtype=bool)
        other = ~unknown & (cells != value).fillna(True).to_numpy(dtype=bool)
        found.abstain(unknown, "population_unknown", f"column {column}: must be known for this endpoint")
        text = f"column {column}: the model is for {content.definition.population_title}"
        found.abstain(other, "not_in_population", text)


def _check_scans(found: Admission, content: BundleContent, imaging: Imaging) -> None:
    failed, have = _failures(imaging.exclusions), set[str]()
    for block in content.sources:
        choice = ScanChoice(pd.DataFrame(), frozenset(), frozenset())
        made: dict[str, str] = {}
        if imaging.features_patient is not None:
            choice = choose_block(imaging.features_patient, block, speaks_at=content.speaks_at)
            made = _faults_of_make(block, content, imaging)
        have |= set(choice.table.index)
        _check_block(found, block, choice, made, failed, content.speaks_at)
        if "flags" in choice.table:
            for key, text in choice.table["flags"].dropna().items():
                words = [*found.scan_flags.get(str(key), "").split(";"), *str(text).split(";")]
                found.scan_flags[str(key)] = ";".join(dict.fromkeys(words)).strip(";")
    kinds = ", ".join(dict.fromkeys(str(block.scans) for block in content.sources))
    _lack(found, ~found.among(have), f"none of the scans {kinds} with features", failed)


def _check_block(
    found: Admission,
    block: ScanBlock,
    choice: ScanChoice,
    made: Mapping[str, str],
    failed: Mapping[str, str],
    when: str,
) -> None:
    """Abstain where the scan of a block cannot be used, or is absent and not imputed."""
    label = f"{block.scans} scan"
    at = " and ".join(block.moments) if block.moment else f"{when} or earlier"
    found.abstain(found.among(choice.ambiguous), "ambiguous_scan", f"several {label}s of the same time point")
    for code, reason in _MAKE_REASONS.items():
        found.abstain(found.among(key for key, fault in made.items() if fault == code), code, reason)
    if block.required:
        absent, later = ~found.among(choice.table.index), found.among(choice.only_later)
        text = f"every {label} was made after {when}, when the model speaks"
        found.abstain(absent & later, "later_scan", text)
        _lack(found, absent, f"no {label} with features at {at}", failed)


def _lack(found: Admission, where: Mask, reason: str, failed: Mapping[str, str]) -> None:
    """Abstain for want of a scan, and say what became of the scans there were."""
    chosen = np.flatnonzero(where & found.open)
    found.abstain(where, "no_scan", reason)
    for position, key in zip(chosen, found.clinical["patient_id"].iloc[chosen], strict=True) if failed else ():
        found.reasons[position] = reason + failed.get(key, "")


_MAKE_REASONS = {
    "unknown_extraction": "the extraction settings of the scan are not known",
    "other_settings": "the features were extracted with other settings than those of the model",
    "other_engine": "the features were extracted with another engine, or version of it, than those of the model",
}


def _faults_of_make(block: ScanBlock, content: BundleContent, imaging: Imaging) -> dict[str, str]:
    """Patients of whom a scan of a block was not extracted as in training, with a code."""
    source = imaging.features_lesion
    if source is None:
        source = imaging.features_patient
    if source is None or not set(_SCAN_KEY + _HOW_MADE) <= set(source.columns):
        raise InputError(
            "nothing says how the features were extracted",
            expected=", ".join(_HOW_MADE),
            remedy="pass the features_lesion table of the same extraction",
        )
    wanted = content.extraction_of(block.scans)
    assert wanted is not None  # noqa: S101 - the bundle's own check
    assert imaging.features_patient is not None  # noqa: S101 - the caller's own check
    faults: dict[str, str] = {}
    for moment in block.moments:
        part = replace(block, moment=moment, change="")
        choice = choose_block(imaging.features_patient, part, speaks_at=content.speaks_at)
        chosen = choice.table.reset_index()[_SCAN_KEY]
        made = chosen.merge(source[_SCAN_KEY + _HOW_MADE].dropna().drop_duplicates(), on=_SCAN_KEY, how="left")
        for key, settings, engine in made[["patient_id", *_HOW_MADE]].itertuples(index=False):
            if pd.isna(settings):
                faults.setdefault(key, "unknown_extraction")
            elif engine != wanted.engine:
                faults.setdefault(key, "other_engine")
            elif settings != wanted.settings_hash:
                faults.setdefault(key, "other_settings")
    return faults


def _failures(exclusions: pd.DataFrame | None) -> dict[str, str]:
    """Codes of the scans of each patient that yielded nothing, as the end of a sentence."""
    if exclusions is None or exclusions.empty:
        return {}
    codes = exclusions.groupby("patient_id")["code"].agg(lambda c: ", ".join(sorted(set(c))))
    return {str(key): f" ({text})" for key, text in codes.items()}


def _take_predictors(found: Admission, content: BundleContent, features: pd.DataFrame | None) -> None:
    """Assemble the rows still open, and abstain where there is nothing, or nothing usable, to compute from."""
    places = np.flatnonzero(found.open)
    chosen = found.clinical.iloc[places]
    if features is not None and content.sources:
        features = features[features["patient_id"].isin(chosen["patient_id"])]
    table = assemble(chosen, features, content.inputs, content.sources, speaks_at=content.speaks_at)
    table.index = pd.Index(places)
    unknown = pd.DataFrame({name: table[name].isna() for name in table}, index=table.index)
    found.abstain(found.at(places[unknown.all(axis=1)]), "no_input", "none of the model's inputs is known")
    for names in _required_features(content):
        empty = unknown[names].all(axis=1).to_numpy()
        found.abstain(found.at(places[empty]), "no_features", "the scan has no feature that the model reads")
    for spec in content.inputs:
        if spec.kind != "number":
            continue
        values = table[spec.name].to_numpy()
        rule = "a finite number >= 0" if spec.log else "a finite number"
        bad = np.isinf(values) | (spec.log & (values < 0))
        text = f"column {spec.name}: out of range, expected {rule}"
        found.abstain(found.at(places[bad]), "out_of_range", text)
    found.predictors = table[found.open[places]]


def _required_features(content: BundleContent) -> list[list[str]]:
    """Inputs of each scan that a patient must have, of which one at least must be known."""
    inputs = by_block((spec.name for spec in content.inputs if spec.source == "radiomics"), content.sources)
    found = []
    for block, names in inputs.items():
        # Tumour burden is measured on the mask and known even where no feature could be extracted.
        texture = [name for name in names if not name.removeprefix(block.prefix).startswith("burden__")] or names
        found += [texture] if block.required and names else []
    return found
