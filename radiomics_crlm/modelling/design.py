"""The predictor table: which columns a model may see, and how one row per patient is made of them.

Training and scoring build their table here and nowhere else, so what a model learned from and what it is given later
cannot drift apart. The leak guard (:func:`radiomics_crlm.schema.refuse_later`) is applied to columns and scans alike.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict

from radiomics_crlm.config import FeatureSetConfig, RadiomicsSelection
from radiomics_crlm.errors import ConfigError, InputError, LeakError
from radiomics_crlm.schema import AVAILABILITY, Refusal, TableSchema, is_later, load_schema, refuse_later

Source = Literal["clinical", "radiomics"]
Kind = Literal["number", "boolean", "category"]

_KINDS: dict[str, Kind] = {"int": "number", "float": "number", "bool": "boolean", "enum": "category"}
_SKEWED = frozenset({"cea_ng_ml", "ca19_9_u_ml", "crp_mg_l", "nlr"})


@dataclass(frozen=True)
class InputSpec:
    """One predictor: where it comes from, what kind of value it holds, and when it is known.

    ``log`` marks positive, right-skewed quantities (tumour markers, volumes) that models see on a logarithmic scale.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    source: Source
    kind: Kind
    categories: tuple[str, ...]
    log: bool
    available_at: str


@dataclass(frozen=True)
class ScanSelection:
    """Scans that radiomics inputs are taken from."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    modality: str
    sequence: str


@dataclass(frozen=True)
class Predictors:
    """What one model sees: ``table`` has the index ``patient_id`` and one column per input, in the order of ``inputs``.

    ``refused`` are columns and scans left out because they become known only later; ``admitted`` are such columns let
    in on request, which the card must say.
    """

    table: pd.DataFrame
    inputs: tuple[InputSpec, ...]
    refused: tuple[Refusal, ...]
    admitted: tuple[Refusal, ...]
    scans: ScanSelection | None


@dataclass(frozen=True)
class ScanChoice:
    """The scan of each patient (index ``patient_id``) and the patients for whom there is none.

    ``ambiguous`` have several equally late scans; ``only_later`` have scans, but all after the moment of prediction.
    """

    table: pd.DataFrame
    ambiguous: frozenset[str]
    only_later: frozenset[str]


def build_predictors(
    feature_set: FeatureSetConfig,
    *,
    clinical: pd.DataFrame,
    features_patient: pd.DataFrame | None,
    available_at: Mapping[str, str],
    speaks_at: str,
    allow_leak: bool = False,
    never: Collection[str] = (),
) -> Predictors:
    """Plan the inputs of a feature set and assemble their table (:func:`plan_inputs`, then :func:`assemble`)."""
    inputs, refused, admitted = plan_inputs(
        feature_set,
        clinical=clinical,
        features_patient=features_patient,
        available_at=available_at,
        speaks_at=speaks_at,
        allow_leak=allow_leak,
        never=never,
    )
    scans = scan_selection(feature_set)
    table = assemble(clinical, features_patient, inputs, scans, speaks_at=speaks_at)
    return Predictors(table, inputs, refused, admitted, scans)


def scan_selection(feature_set: FeatureSetConfig) -> ScanSelection | None:
    """Modality and sequence that a feature set takes radiomics from, or None if it has none."""
    wanted = feature_set.radiomics
    return None if wanted is None else ScanSelection(wanted.modality, wanted.sequence)


def availability(schema: TableSchema, later: Mapping[str, str]) -> dict[str, str]:
    """When each column of a table becomes known; a cohort may declare one later than the vocabulary, never earlier.

    >>> availability(load_schema("clinical"), {"cea_ng_ml": "restaging"})["cea_ng_ml"]
    'restaging'

    Raises
    ------
    ConfigError
        For a column that the vocabulary lacks, or one that is declared earlier.
    """
    known = {name: spec.available_at for name, spec in schema.columns.items()}
    for column, moment in later.items():
        if column not in known:
            raise _unknown_column(column, known, where="cohort.yaml: available_at")
        if is_later(known[column], moment):
            raise ConfigError(
                f"{column} is declared to be known earlier than the vocabulary says",
                where="cohort.yaml: available_at",
                expected=f"{known[column]} or later",
                got=moment,
            )
        known[column] = moment
    return known


def plan_inputs(
    feature_set: FeatureSetConfig,
    *,
    clinical: pd.DataFrame,
    features_patient: pd.DataFrame | None,
    available_at: Mapping[str, str],
    speaks_at: str,
    allow_leak: bool,
    never: Collection[str] = (),
) -> tuple[tuple[InputSpec, ...], tuple[Refusal, ...], tuple[Refusal, ...]]:
    """Decide which columns a model may see.

    Parameters
    ----------
    feature_set
        What is wanted. ``columns: all`` takes every clinical predictor of the table that is neither excluded, nor
        empty, nor constant, nor known only later; an explicit list is taken as it stands or refused.
    clinical
        Typed clinical table.
    features_patient
        Radiomics per patient and scan; None if the cohort has no images.
    available_at
        Moment at which each clinical column becomes known (:func:`availability`).
    speaks_at
        Moment at which the model speaks.
    allow_leak
        Admit clinical columns that are known only later. Later scans are refused even then.
    never
        Columns that are not admitted even with ``allow_leak``: the sources of the endpoint.

    Returns
    -------
    inputs, refused, admitted
        Clinical inputs (vocabulary order, or the order of the list), then radiomics (by name); what was left out and
        what was let in although it becomes known only later.

    Raises
    ------
    ConfigError
        If a listed column is unknown, absent or no predictor, a pattern matches nothing, or no input is left.
    LeakError
        If a listed column becomes known only later (unless ``allow_leak``) or is the endpoint itself.
    InputError
        If radiomics are wanted and the cohort has none at or before the moment of prediction.
    """
    schema = load_schema("clinical")
    if feature_set.columns == "all":
        names = _usable(clinical, schema, feature_set.exclude)
        when = {name: available_at.get(name, schema.columns[name].available_at) for name in names}
        later = [Refusal(n, w, speaks_at) for n, w in when.items() if is_later(w, speaks_at)]
        let_in = {r.column for r in later if allow_leak and r.column not in never}
        refused = [r for r in later if r.column not in let_in]
        admitted = [r for r in later if r.column in let_in]
        left_out = {r.column for r in refused} | set(never)
        names = [name for name in names if name not in left_out]
    else:
        names = _listed(feature_set, clinical, schema, never)
        when = {name: available_at.get(name, schema.columns[name].available_at) for name in names}
        refused, admitted = [], refuse_later(when, speaks_at, allow=allow_leak)
    inputs = [_clinical_input(name, schema, when[name]) for name in names]
    if feature_set.radiomics is not None:
        found, later_scans = _radiomics_inputs(feature_set, feature_set.radiomics, features_patient, speaks_at)
        inputs += found
        refused += later_scans
    if not inputs:
        raise ConfigError(f"the feature set {feature_set.title!r} has no usable input in this cohort")
    return tuple(inputs), tuple(refused), tuple(admitted)


def _usable(clinical: pd.DataFrame, schema: TableSchema, exclude: Collection[str]) -> list[str]:
    """Predictors of the vocabulary that vary in this table, in vocabulary order."""
    names = []
    for name, spec in schema.columns.items():
        if name not in clinical or not spec.predictor or spec.type not in _KINDS or name in exclude:
            continue
        # One distinct value (or none) tells patients apart only by who lacks it.
        if clinical[name].nunique(dropna=True) > 1:
            names.append(name)
    return names


def _listed(
    feature_set: FeatureSetConfig, clinical: pd.DataFrame, schema: TableSchema, never: Collection[str]
) -> list[str]:
    names = [name for name in feature_set.columns if name not in feature_set.exclude]
    for name in names:
        spec = schema.columns.get(name)
        if spec is None:
            raise _unknown_column(name, schema.columns, where=f"feature set {feature_set.title!r}")
        if not spec.predictor or spec.type not in _KINDS:
            raise ConfigError(f"{name} is no predictor", where=f"feature set {feature_set.title!r}")
        if name in never:
            raise LeakError(
                f"{name} is what the endpoint is made of and is never a predictor",
                remedy="remove it from the feature set",
            )
        if name not in clinical:
            raise ConfigError(
                f"the clinical table has no column {name!r}",
                where=f"feature set {feature_set.title!r}",
                remedy="remove it from the feature set or add it to the table",
            )
    if len(set(names)) < len(names):
        raise ConfigError("a column is listed twice", where=f"feature set {feature_set.title!r}")
    return names


def _unknown_column(name: str, known: Iterable[str], *, where: str) -> ConfigError:
    near = difflib.get_close_matches(name, list(known), n=1)
    return ConfigError(
        f"unknown clinical column {name[:60]!r}",
        where=where,
        expected="a name of data_schemas/clinical.yaml" + (f", perhaps {near[0]!r}" if near else ""),
    )


def _clinical_input(name: str, schema: TableSchema, when: str) -> InputSpec:
    spec = schema.columns[name]
    kind = _KINDS[spec.type]
    return InputSpec(name, "clinical", kind, spec.allowed, kind == "number" and _is_skewed(name), when)


def _is_skewed(name: str) -> bool:
    return name in _SKEWED or name.endswith("_ml")


def _radiomics_inputs(
    feature_set: FeatureSetConfig, wanted: RadiomicsSelection, features: pd.DataFrame | None, speaks_at: str
) -> tuple[list[InputSpec], list[Refusal]]:
    if features is None:
        raise InputError(
            "the feature set needs radiomics and the cohort has no features",
            where=f"feature set {feature_set.title!r}",
            remedy="extract features first, or use a feature set without radiomics",
        )
    scans = ScanSelection(wanted.modality, wanted.sequence)
    moments = _matching(features, scans)["timepoint"].unique()
    label = f"scans {scans.modality}/{scans.sequence}"
    later = [Refusal(f"{label} at {m}", m, speaks_at) for m in AVAILABILITY if m in moments and is_later(m, speaks_at)]
    known = [m for m in AVAILABILITY if m in moments and not is_later(m, speaks_at)]
    if not known:
        raise InputError(
            f"the cohort has no {label} known at the prediction time",
            where=f"feature set {feature_set.title!r}",
            expected=f"a scan at {speaks_at} or earlier",
        )
    chosen = select_scans(features, scans, speaks_at=speaks_at)
    names = [
        name
        for name in sorted(c for c in features.columns if "__" in c)
        if any(fnmatchcase(name, pattern) for pattern in wanted.columns)
        and not any(fnmatchcase(name, pattern) for pattern in feature_set.exclude)
        and chosen[name].notna().any()
    ]
    if not names:
        raise ConfigError(
            "no radiomics column matches",
            where=f"feature set {feature_set.title!r}",
            expected=", ".join(wanted.columns),
        )
    return [InputSpec(n, "radiomics", "number", (), _is_skewed(n), known[-1]) for n in names], later


def _matching(features: pd.DataFrame, scans: ScanSelection) -> pd.DataFrame:
    rows = (features["modality"] == scans.modality) & (features["sequence"] == scans.sequence)
    return features[rows.fillna(False).astype(bool)]


def choose_scans(features_patient: pd.DataFrame, scans: ScanSelection, *, speaks_at: str) -> ScanChoice:
    """The latest scan of each patient that is known when the model speaks; later scans are never used.

    Among scans of the same time point the latest ``study_day`` counts, where the table has it.
    """
    matching = _matching(features_patient, scans)
    order = matching["timepoint"].map({moment: rank for rank, moment in enumerate(AVAILABILITY)})
    if order.isna().any():
        raise InputError("a scan has an unknown time point", where="features_patient", expected=", ".join(AVAILABILITY))
    known = order <= AVAILABILITY.index(speaks_at)
    day = matching["study_day"] if "study_day" in matching else pd.Series(np.nan, index=matching.index)
    ranked = matching.assign(_moment=order, _day=day.astype("float64").fillna(-np.inf))[known]
    best = ranked.sort_values(["patient_id", "_moment", "_day"], kind="stable").groupby("patient_id").tail(1)
    keys = ["patient_id", "_moment", "_day"]
    ties = best[keys].merge(ranked[keys], on=keys).groupby("patient_id").size()
    ambiguous = frozenset(map(str, ties.index[ties > 1]))
    chosen = best.drop(columns=["_moment", "_day"]).set_index("patient_id")
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
            f"{len(choice.ambiguous)} patients have several {scans.modality}/{scans.sequence} scans of one time point",
            where=f"patient {min(choice.ambiguous)}",
            expected="one scan, or different study_day",
        )
    return choice.table


def assemble(
    clinical: pd.DataFrame,
    features_patient: pd.DataFrame | None,
    inputs: Collection[InputSpec],
    scans: ScanSelection | None,
    *,
    speaks_at: str,
) -> pd.DataFrame:
    """One row per patient of ``clinical`` (its order), one column per input; everything is joined by key.

    Numbers are float64, booleans ``boolean`` and categories ``str``; unknown is null. A clinical column that the table
    lacks, and the radiomics of patients without a scan, are null.

    Raises
    ------
    InputError
        If a patient key is missing or occurs twice, or the features lack a radiomics column altogether.
    """
    keys = clinical["patient_id"]
    if keys.isna().any() or keys.duplicated().any():
        raise InputError("the clinical table needs one row per patient", expected="unique patient_id, none missing")
    index = pd.Index(keys.astype("str"), name="patient_id")
    radiomics = _scan_table(features_patient, inputs, scans, speaks_at).reindex(index)
    columns = {}
    for spec in inputs:
        cells = radiomics[spec.name] if spec.source == "radiomics" else clinical.get(spec.name)
        columns[spec.name] = _typed(cells, spec.kind, len(index)).array
    return pd.DataFrame(columns, index=index)


def _scan_table(
    features: pd.DataFrame | None, inputs: Collection[InputSpec], scans: ScanSelection | None, speaks_at: str
) -> pd.DataFrame:
    names = [spec.name for spec in inputs if spec.source == "radiomics"]
    if not names or features is None:
        return pd.DataFrame(columns=names, index=pd.Index([], dtype="str", name="patient_id"), dtype="float64")
    if scans is None:
        raise ConfigError("radiomics inputs need a scan selection")
    if absent := [name for name in names if name not in features]:
        raise InputError(
            f"the features lack {len(absent)} columns that the model needs",
            where="features_patient",
            expected=absent[0],
            remedy="extract with the settings of the model",
        )
    return select_scans(features, scans, speaks_at=speaks_at)[names]


def _typed(cells: pd.Series | None, kind: Kind, rows: int) -> pd.Series:
    cells = pd.Series([None] * rows, dtype="object") if cells is None else cells.reset_index(drop=True)
    if kind == "number":
        return cells.astype("Float64").astype("float64")
    return cells.astype("boolean") if kind == "boolean" else cells.astype("str")
