"""The predictor table: which columns a model may see, and how one row per patient is made of them.

Training and scoring build their table here and nowhere else, so what a model learned from and what it is given later
cannot drift apart. The leak guard (:func:`radiomics_crlm.schema.refuse_later`) is applied to columns and scans alike.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict

from radiomics_crlm.config import FeatureSetConfig
from radiomics_crlm.errors import ConfigError, InputError, LeakError
from radiomics_crlm.modelling.scans import (
    ScanBlock,
    as_blocks,
    block_values,
    blocks_of,
    by_block,
    matching_scans,
    moments_known,
    refuse_late_scans,
)
from radiomics_crlm.modelling.scans import ScanChoice as ScanChoice
from radiomics_crlm.modelling.scans import ScanSelection as ScanSelection
from radiomics_crlm.modelling.scans import choose_scans as choose_scans
from radiomics_crlm.modelling.scans import select_scans as select_scans
from radiomics_crlm.schema import Refusal, TableSchema, is_later, load_schema, refuse_later

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
class Predictors:
    """What one model sees: ``table`` has the index ``patient_id`` and one column per input, in the order of ``inputs``.

    ``refused`` are columns and scans left out because they become known only later; ``admitted`` are such columns let
    in on request, which the card must say. ``blocks`` say which scans the radiomic inputs come from; ``scans`` is the
    kind of scan if there is one only, and no moment is named. ``aggregate``, if any, says that the model learns from
    lesions, and how their risks become that of the patient.
    """

    table: pd.DataFrame
    inputs: tuple[InputSpec, ...]
    refused: tuple[Refusal, ...]
    admitted: tuple[Refusal, ...]
    scans: ScanSelection | None
    blocks: tuple[ScanBlock, ...] = ()
    aggregate: Literal["", "max", "mean"] = ""

    def block_names(self) -> dict[str, str]:
        """Scans of each radiomic input, in words; empty where every patient has the one kind of scan there is."""
        if all(block.plain and block.required for block in self.blocks):
            return {}
        found = by_block((spec.name for spec in self.inputs if spec.source == "radiomics"), self.blocks)
        return {name: block.label for block, names in found.items() for name in names}

    def lacking(self) -> dict[str, int]:
        """Number of patients without any value from the scans of each block."""
        of = self.block_names()
        inputs = {label: [name for name in of if of[name] == label] for label in dict.fromkeys(of.values())}
        return {label: int(self.table[names].isna().all(axis=1).sum()) for label, names in inputs.items()}


def build_predictors(
    feature_set: FeatureSetConfig,
    *,
    clinical: pd.DataFrame,
    features_patient: pd.DataFrame | None,
    available_at: Mapping[str, str],
    speaks_at: str,
    allow_leak: bool = False,
    never: Collection[str] = (),
    features_lesion: pd.DataFrame | None = None,
) -> Predictors:
    """Plan the inputs of a feature set and assemble their table (:func:`plan_inputs`, then :func:`assemble`).

    A feature set of the level lesion takes its radiomics from ``features_lesion``: each lesion of a patient has columns
    of its own.
    """
    if feature_set.level == "lesion":
        feature_set, features_patient = _lesions_as_columns(feature_set, features_lesion)
    inputs, refused, admitted = plan_inputs(
        feature_set,
        clinical=clinical,
        features_patient=features_patient,
        available_at=available_at,
        speaks_at=speaks_at,
        allow_leak=allow_leak,
        never=never,
    )
    blocks = blocks_of(feature_set)
    table = assemble(clinical, features_patient, inputs, blocks, speaks_at=speaks_at)
    scans = blocks[0].scans if len(blocks) == 1 and blocks[0].plain else None
    return Predictors(table, inputs, refused, admitted, scans, blocks, feature_set.aggregate or "")


def _lesions_as_columns(
    feature_set: FeatureSetConfig, features_lesion: pd.DataFrame | None
) -> tuple[FeatureSetConfig, pd.DataFrame | None]:
    """The same request of a table with one row per scan and columns for each of its lesions."""
    from radiomics_crlm.modelling.lesions import stack_lesions  # with scikit-learn, which scoring does without

    wanted = feature_set.selections[0]
    kind = ScanSelection(wanted.modality, wanted.sequence)
    table = None
    if features_lesion is not None:
        table = stack_lesions(matching_scans(features_lesion, kind), wanted.columns, feature_set.exclude)
    # Nothing is left to choose: the table has the wanted columns alone.
    return feature_set.model_copy(update={"radiomics": wanted.model_copy(update={"columns": ("lesion*:*",)})}), table


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
        Clinical inputs (vocabulary order, or the order of the list), then radiomics (by kind of scan, moment and name);
        what was left out and what was let in although it becomes known only later.

    Raises
    ------
    ConfigError
        If a listed column is unknown, absent or no predictor, a pattern matches nothing, or no input is left.
    LeakError
        If a listed column becomes known only later (unless ``allow_leak``) or is the endpoint itself, or scans of a
        named moment are asked for that is later.
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
    blocks = blocks_of(feature_set)
    refuse_late_scans(blocks, speaks_at)
    for block in blocks:
        found, later_scans = _radiomics_inputs(feature_set, block, features_patient, speaks_at)
        inputs += found
        refused += later_scans
    if not inputs:
        raise ConfigError(
            f"the feature set {feature_set.title!r} has no usable input in this cohort",
            expected=f"a column that the cohort has and that is known at {speaks_at}",
        )
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
    feature_set: FeatureSetConfig, block: ScanBlock, features: pd.DataFrame | None, speaks_at: str
) -> tuple[list[InputSpec], list[Refusal]]:
    where, label = f"feature set {feature_set.title!r}", f"scans {block.scans}"
    if features is None:
        raise InputError(
            "the feature set needs radiomics and the cohort has no features",
            where=where,
            remedy="extract features first, or use a feature set without radiomics",
        )
    known, later = moments_known(features, block.scans, speaks_at=speaks_at)
    needed = set(block.moments) - {""}
    if not known or not needed <= set(known):
        raise InputError(
            f"the cohort has no {label} known at the prediction time",
            where=where,
            expected=f"a scan at {' and '.join(sorted(needed))}" if needed else f"a scan at {speaks_at} or earlier",
        )
    names = [c for c in sorted(features.columns) if "__" in c and block.wants(c, feature_set.exclude)]
    values = block_values(features, block, names, speaks_at=speaks_at)
    names = [name for name in names if values[name].notna().any()]
    if not names:
        raise ConfigError("no radiomics column matches", where=where, expected=", ".join(block.patterns))
    when = block.moment or known[-1]
    inputs = [
        InputSpec(block.prefix + n, "radiomics", "number", (), _is_skewed(n) and not block.change, when) for n in names
    ]
    return inputs, [] if block.moment else [Refusal(f"{label} at {m}", m, speaks_at) for m in later]


def assemble(
    clinical: pd.DataFrame,
    features_patient: pd.DataFrame | None,
    inputs: Collection[InputSpec],
    scans: ScanSelection | Sequence[ScanBlock] | None,
    *,
    speaks_at: str,
) -> pd.DataFrame:
    """One row per patient of ``clinical`` (its order), one column per input; everything is joined by key.

    Numbers are float64, booleans ``boolean`` and categories ``str``; unknown is null. A clinical column that the table
    lacks, and the radiomics of patients without a scan, are null. ``scans`` says where radiomics come from: one kind of
    scan, or the blocks of a feature set.

    Raises
    ------
    InputError
        If a patient key is missing or occurs twice, or the features lack a radiomics column altogether.
    """
    keys = clinical["patient_id"]
    if keys.isna().any() or keys.duplicated().any():
        raise InputError("the clinical table needs one row per patient", expected="unique patient_id, none missing")
    index = pd.Index(keys.astype("str"), name="patient_id")
    radiomics = _scan_columns(features_patient, inputs, as_blocks(scans), speaks_at, index)
    columns = {}
    for spec in inputs:
        cells = radiomics.get(spec.name) if spec.source == "radiomics" else clinical.get(spec.name)
        columns[spec.name] = _typed(cells, spec.kind, len(index)).array
    return pd.DataFrame(columns, index=index)


def _scan_columns(
    features: pd.DataFrame | None,
    inputs: Collection[InputSpec],
    blocks: Sequence[ScanBlock],
    speaks_at: str,
    index: pd.Index,
) -> dict[str, pd.Series]:
    """Radiomic columns by name, in the rows of ``index``; none without features."""
    wanted = [spec.name for spec in inputs if spec.source == "radiomics"]
    if not wanted or features is None:
        return {}
    if not blocks:
        raise ConfigError("radiomics inputs need a scan selection")
    found: dict[str, pd.Series] = {}
    for block, names in by_block(wanted, blocks).items():
        columns = [name.removeprefix(block.prefix) for name in names]
        if absent := [column for column in columns if column not in features]:
            raise InputError(
                f"the features lack {len(absent)} columns that the model needs",
                where="features_patient",
                expected=absent[0],
                remedy="extract with the settings of the model",
            )
        values = block_values(features, block, columns, speaks_at=speaks_at).reindex(index)
        found |= {name: values[column] for name, column in zip(names, columns, strict=True)}
    return found


def _typed(cells: pd.Series | None, kind: Kind, rows: int) -> pd.Series:
    if cells is None and kind == "number":  # hundreds of columns at once, and slow on the way below
        return pd.Series(np.full(rows, np.nan))
    cells = pd.Series([None] * rows, dtype="object") if cells is None else cells.reset_index(drop=True)
    if kind == "number":
        return cells.astype("Float64").astype("float64")
    return cells.astype("boolean") if kind == "boolean" else cells.astype("str")
