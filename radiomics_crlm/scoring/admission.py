"""Which rows of a cohort a bundle can score, and why not the others. A bad row costs itself, never the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from radiomics_crlm.config import CohortNotes
from radiomics_crlm.errors import InputError, LeakError
from radiomics_crlm.modelling.design import ScanChoice, assemble, availability
from radiomics_crlm.modelling.scans import ScanBlock, by_block, choose_block
from radiomics_crlm.schema import is_later, later_than, load_schema, parse_table
from radiomics_crlm.scoring.bundle import BundleContent

FIRST_ROW = 2
"""Number of the first data row, as a spreadsheet shows it below the header."""
_SCAN_KEY = ["patient_id", "timepoint", "modality", "sequence"]
_HOW_MADE = ["settings_hash", "engine"]


@dataclass(frozen=True)
class Imaging:
    """Radiomics of a cohort: ``features_patient``, and how they were made.

    ``features_lesion`` (or the same columns in ``features_patient``) names ``settings_hash`` and ``engine`` of
    each scan. ``exclusions`` are scans that yielded nothing, to say so in the reason.
    """

    features_patient: pd.DataFrame | None = None
    features_lesion: pd.DataFrame | None = None
    exclusions: pd.DataFrame | None = None


@dataclass
class Admission:
    """Verdict on every row, by position.

    ``clinical`` is the typed table of all rows (bad cells null) and ``readable`` says which of them may be looked
    at at all; a row without ``code`` is scored. ``predictors`` holds those rows, indexed by position.
    """

    clinical: pd.DataFrame
    readable: np.ndarray
    codes: list[str | None]
    reasons: list[str | None]
    predictors: pd.DataFrame = field(default_factory=pd.DataFrame)
    scan_flags: dict[str, str] = field(default_factory=dict)

    def abstain(self, position: int, code: str, reason: str) -> None:
        """Note why a row is not scored; the first reason stands."""
        if self.codes[position] is None:
            self.codes[position], self.reasons[position] = code, reason

    @property
    def open(self) -> list[int]:
        """Positions without a reason against them."""
        return [i for i, code in enumerate(self.codes) if code is None]


def admit(content: BundleContent, clinical_raw: pd.DataFrame, imaging: Imaging, notes: CohortNotes) -> Admission:
    """Check every row of a raw clinical table against what a bundle needs.

    Raises
    ------
    InputError
        For faults of a whole table: no rows, unknown, repeated or missing columns, or radiomics of unknown make.
    LeakError
        If the cohort declares an input of the model to be known only after the model speaks.
    """
    _refuse_late(content, notes)
    if clinical_raw.empty:
        raise InputError("the clinical table has no rows", expected="one row per patient", got="0 rows")
    parsed = parse_table(clinical_raw, load_schema("clinical"), ignore=notes.ignore_columns)
    rows = len(parsed.table)
    found = Admission(parsed.table, np.zeros(rows, dtype=bool), [None] * rows, [None] * rows)
    _check_keys(found)
    for problem in parsed.problems:
        text = f"column {problem.column}: {problem.code.replace('_', ' ')}, expected {problem.expected}"
        position = problem.row - FIRST_ROW
        if found.codes[position] == problem.code:
            found.reasons[position] = f"{found.reasons[position]}; {text}"
        found.abstain(position, problem.code, text)
    found.readable[found.open] = True
    _check_population(found, content)
    if content.needs_radiomics:
        _check_scans(found, content, imaging)
    _take_predictors(found, content, imaging.features_patient)
    return found


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


def _check_keys(found: Admission) -> None:
    keys = found.clinical["patient_id"]
    repeated = keys.duplicated(keep=False) & keys.notna()
    for position in np.flatnonzero(keys.isna()):
        found.abstain(int(position), "missing_key", "column patient_id: empty, expected a patient key")
    for position in np.flatnonzero(repeated):
        found.abstain(int(position), "duplicate_patient", "column patient_id: the key stands in several rows")


def _check_population(found: Admission, content: BundleContent) -> None:
    for column, value in content.definition.population.items():
        cells = found.clinical.get(column, pd.Series([None] * len(found.clinical), dtype="object"))
        for position in found.open:
            if pd.isna(cells.iloc[position]):
                found.abstain(position, "population_unknown", f"column {column}: must be known for this endpoint")
            elif cells.iloc[position] != value:
                text = f"column {column}: the model is for {content.definition.population_title}"
                found.abstain(position, "not_in_population", text)


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
    for position in found.open:
        if (key := found.clinical["patient_id"].iloc[position]) not in have:
            found.abstain(position, "no_scan", f"none of the scans {kinds} with features{failed.get(key, '')}")


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
    for position in found.open:
        key = found.clinical["patient_id"].iloc[position]
        if key in choice.ambiguous:
            found.abstain(position, "ambiguous_scan", f"several {label}s of the same time point")
        elif key in made:
            found.abstain(position, made[key], _MAKE_REASONS[made[key]])
        elif key in choice.table.index or not block.required:
            continue
        elif key in choice.only_later:
            found.abstain(position, "later_scan", f"every {label} was made after {when}, when the model speaks")
        else:
            found.abstain(position, "no_scan", f"no {label} with features at {at}{failed.get(key, '')}")


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
    chosen = found.clinical.iloc[found.open]
    if features is not None and content.sources:
        features = features[features["patient_id"].isin(chosen["patient_id"])]
    table = assemble(chosen, features, content.inputs, content.sources, speaks_at=content.speaks_at)
    table.index = pd.Index(found.open)
    for position, empty in table.isna().all(axis=1).items():
        if empty:
            found.abstain(int(str(position)), "no_input", "none of the model's inputs is known")
    for names in _required_features(content):
        for position, empty in table[names].isna().all(axis=1).items():
            if empty:
                found.abstain(int(str(position)), "no_features", "the scan has no feature that the model reads")
    for spec in content.inputs:
        if spec.kind != "number":
            continue
        values = table[spec.name].to_numpy()
        rule = "a finite number >= 0" if spec.log else "a finite number"
        for position in table.index[np.isinf(values) | (spec.log & (values < 0))]:
            found.abstain(int(position), "out_of_range", f"column {spec.name}: out of range, expected {rule}")
    found.predictors = table.loc[found.open]


def _required_features(content: BundleContent) -> list[list[str]]:
    """Inputs of each scan that a patient must have, of which one at least must be known."""
    inputs = by_block((spec.name for spec in content.inputs if spec.source == "radiomics"), content.sources)
    found = []
    for block, names in inputs.items():
        # Tumour burden is measured on the mask and known even where no feature could be extracted.
        texture = [name for name in names if not name.removeprefix(block.prefix).startswith("burden__")] or names
        found += [texture] if block.required and names else []
    return found
