"""The model bundle: a sealed folder of JSON from which a model is rebuilt as plain numbers. Loading it executes
nothing.

``bundle.json`` says what the model is, ``model.json`` holds its numbers, ``booster.json`` its trees if it has
any, and ``manifest.json`` their hashes. It holds summaries of the training data, never rows, keys or extremes
of single patients.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, JsonValue, StringConstraints, ValidationError, model_validator

from radiomics_crlm.config import EndpointConfig, Moment, Slug, Strict
from radiomics_crlm.errors import InputError, LeakError
from radiomics_crlm.modelling.design import InputSpec, ScanSelection, assemble
from radiomics_crlm.modelling.frozen import FrozenModel
from radiomics_crlm.modelling.scans import CHANGE_TO, ScanBlock, as_blocks, by_block, refuse_late_scans
from radiomics_crlm.provenance.files import canonical_json
from radiomics_crlm.schema import is_later, load_schema, refuse_later
from radiomics_crlm.scoring.reference import Novelty, ShiftReference, Uncertainty
from radiomics_crlm.scoring.sealed import DESCRIPTION, Unsealed, check_protocol, parse_object, seal, unseal
from radiomics_crlm.scoring.trees import check_trees

BUNDLE, MODEL, BOOSTER = DESCRIPTION, "model.json", "booster.json"
_CAPS = {BUNDLE: 4 * 2**20, MODEL: 16 * 2**20, BOOSTER: 16 * 2**20}
_KINDS = {"int": "number", "float": "number", "bool": "boolean", "enum": "category"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_RADIOMICS_NAME = re.compile(r"[a-z0-9]+__[A-Za-z0-9_.\-]{1,150}")
_PREFIX = re.compile(r"([A-Za-z0-9_.\-]{1,80}:)?")
# Absent from the bundles of one scan, as from those of the time before there were others.
_OF_SEVERAL = ("blocks", "extractions")
# Fields that protocol 1 does not have; a bundle without any of them, where the training cannot tell, is one of it.
_SINCE_2 = ("uncertainty", "novelty", "shift")
# Fewer known values than this per tail would make a percentile the value of one or two patients.
_SMALLEST_TAIL = 5
_SMALLEST_SCALE = 1e-30

Line = Annotated[str, StringConstraints(max_length=2000)]
Share = Annotated[float, Field(ge=0, le=1)]


class InputSummary(Strict):
    """One input in the training data.

    ``missing`` is the share of patients without it. Numbers have ``low`` and ``high``: the quantiles ``tail``
    and ``1 - tail`` of the known values, where ``tail`` is 0.01, or more in small samples, so that at least
    five patients lie beyond each; null where too few are known. Booleans have ``share_true``, categories those
    that were ``seen``.
    """

    missing: Share
    low: float | None = None
    high: float | None = None
    tail: Share | None = None
    share_true: Share | None = None
    seen: tuple[Line, ...] = ()


class TrainingSummary(Strict):
    """Who the model was fitted on, in numbers that identify nobody."""

    patients: int = Field(ge=1)
    events: int = Field(ge=0)
    inputs: dict[Line, InputSummary]


class Extraction(Strict):
    """How the radiomics of the training data were made; features made otherwise are not scored."""

    profile: Line
    settings: dict[str, JsonValue]
    settings_hash: Line = Field(min_length=1)
    engine: Line = Field(min_length=1)


class BundleContent(Strict):
    """``bundle.json``: what the model predicts, for whom, when, from what.

    Radiomics come from the latest scan of one kind (``scans``, made as ``extraction`` says), or from ``blocks`` of
    scans, with ``extractions`` by kind (``MR/hbp``). ``protocol`` is the lowest number that has all fields which are
    filled, so that older programs read what they can.
    """

    name: Slug
    title: Line
    endpoint: Slug
    definition: EndpointConfig
    model: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+/[a-z0-9_]+$", max_length=120)]
    speaks_at: Moment
    inputs: tuple[InputSpec, ...] = Field(min_length=1)
    scans: ScanSelection | None = None
    extraction: Extraction | None = None
    blocks: tuple[ScanBlock, ...] = Field(default=(), max_length=100)
    extractions: dict[Line, Extraction] = Field(default_factory=dict)
    training: TrainingSummary
    uncertainty: Uncertainty | None = None
    novelty: Novelty | None = None
    shift: ShiftReference | None = None
    horizons: tuple[Annotated[int, Field(ge=1, le=600)], ...] = Field(
        description="months for which it has probabilities"
    )
    rules: tuple[Slug, ...] = ()
    cautions: tuple[Line, ...] = ()
    performance_claim: bool = True
    versions: dict[Line, Line]
    protocol: Literal[1, 2] = Field(default_factory=lambda data: _lowest_protocol(data))

    @property
    def needs_radiomics(self) -> bool:
        """Whether any input comes from images."""
        return any(spec.source == "radiomics" for spec in self.inputs)

    @property
    def sources(self) -> tuple[ScanBlock, ...]:
        """Blocks of scans that radiomics come from."""
        return self.blocks or as_blocks(self.scans)

    def extraction_of(self, scans: ScanSelection) -> Extraction | None:
        """How the features of a kind of scan are made."""
        return self.extractions.get(str(scans)) if self.blocks else self.extraction

    @model_validator(mode="after")
    def _consistent(self) -> BundleContent:
        if self.protocol != _lowest_protocol(dict(self)):
            raise ValueError("the fields are not those of its protocol")
        names = [spec.name for spec in self.inputs]
        if len(set(names)) < len(names) or set(names) != set(self.training.inputs):
            raise ValueError("inputs must be unique and each needs a training summary")
        if list(self.horizons) != sorted(set(self.horizons)):
            raise ValueError("horizons must ascend")
        made = [self.extraction_of(block.scans) for block in self.sources]
        if self.needs_radiomics and (not made or None in made):
            raise ValueError("radiomics inputs need scans and extraction settings")
        _check_blocks(self)
        _check_reference(self)
        if self.speaks_at != self.definition.prediction_time:
            raise ValueError("the model speaks at another time than its endpoint says")
        columns = _radiomic_columns(self)
        for spec in self.inputs:
            _check_input(spec, columns.get(spec.name, ""))
        return self


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: its description, its model, and the SHA-256 that identifies it."""

    content: BundleContent
    model: FrozenModel
    sha256: str


def _lowest_protocol(fields: Mapping[str, Any]) -> Literal[1, 2]:
    return 2 if any(fields.get(name) is not None for name in _SINCE_2) else 1


def _check_blocks(content: BundleContent) -> None:
    if content.blocks and (content.scans is not None or content.extraction is not None):
        raise ValueError("the scans are described twice")
    prefixes = [block.prefix for block in content.blocks]
    if len(set(prefixes)) < len(prefixes) or not all(_PREFIX.fullmatch(prefix) for prefix in prefixes):
        raise ValueError("the inputs of the scans cannot be told apart")
    if any(block.change and block.moment != CHANGE_TO for block in content.blocks):
        raise ValueError("a change is measured at another time point")


def _check_reference(content: BundleContent) -> None:
    """What later predictions are judged by must be of this model's horizons and inputs."""
    known, shift = content.uncertainty, content.shift
    if known is not None:
        months = [*(one.months for one in known.sets), *(one.months for one in known.bands)]
        bound = () if known.bound is None else known.bound.months
        if not {*months, *bound} <= set(content.horizons) or list(bound) != sorted(set(bound)):
            raise ValueError("the uncertainty is of other horizons than the model")
    if shift is not None:
        kinds = {spec.name: spec.kind for spec in content.inputs}
        if set(shift.inputs) != set(kinds):
            raise ValueError("the distribution of the training is of other inputs than the model")
        if any(shape.edges and kinds.get(name) != "number" for name, shape in shift.inputs.items()):
            raise ValueError("an input that is no number has bins")
        if any(shape.levels and kinds.get(name) == "number" for name, shape in shift.inputs.items()):
            raise ValueError("a number has categories")


def _radiomic_columns(content: BundleContent) -> dict[str, str]:
    """Column of the features that each radiomic input is; without one, an input is of no scan."""
    names = [spec.name for spec in content.inputs if spec.source == "radiomics"]
    known = [name for name in names if any(name.startswith(block.prefix) for block in content.sources)]
    found = by_block(known, content.sources)
    return {name: name.removeprefix(block.prefix) for block, inputs in found.items() for name in inputs}


def _check_input(spec: InputSpec, column: str) -> None:
    """An input must be one that this program could have planned itself."""
    if spec.source == "radiomics":
        if not _RADIOMICS_NAME.fullmatch(column) or spec.kind != "number" or spec.categories:
            raise ValueError("a radiomics input is not a numeric feature column")
        return
    known = load_schema("clinical").columns.get(spec.name)
    if known is None or not known.predictor:
        raise ValueError("a clinical input is no predictor of the vocabulary")
    if is_later(known.available_at, spec.available_at):
        raise ValueError(f"the input {spec.name} is said to be known earlier than the vocabulary says")
    if _KINDS.get(known.type) != spec.kind or not set(spec.categories) <= set(known.allowed):
        raise ValueError(f"the input {spec.name} has another kind or other categories than the vocabulary")


def describe_training(table: pd.DataFrame, inputs: Sequence[InputSpec], *, events: int) -> TrainingSummary:
    """Summaries of the training table (one column per input) that a bundle may carry."""
    summaries = {spec.name: _summary(table[spec.name], spec) for spec in inputs}
    return TrainingSummary(patients=len(table), events=events, inputs=summaries)


def _summary(cells: pd.Series, spec: InputSpec) -> InputSummary:
    known = cells.dropna()
    missing = float(cells.isna().mean())
    if spec.kind == "boolean":
        share = float(known.astype("float64").mean()) if len(known) else None
        return InputSummary(missing=missing, share_true=share)
    if spec.kind == "category":
        return InputSummary(missing=missing, seen=tuple(c for c in spec.categories if (known == c).any()))
    if len(known) < 4 * _SMALLEST_TAIL:
        return InputSummary(missing=missing)
    tail = max(0.01, _SMALLEST_TAIL / (len(known) - 1))
    low, high = np.quantile(known.to_numpy(dtype="float64"), [tail, 1 - tail]).tolist()
    return InputSummary(missing=missing, low=low, high=high, tail=tail)


def write_bundle(folder: Path, content: BundleContent, model: FrozenModel) -> str:
    """Write a bundle, whole or not at all; the same model gives the same bytes.

    Parameters
    ----------
    folder
        New folder, or one that already holds exactly this bundle.
    content
        What the model is.
    model
        Its numbers.

    Returns
    -------
    SHA-256 of the bundle.

    Raises
    ------
    LeakError
        If an input is known only after the moment at which the model speaks: such a model is studied, never
        delivered.
    InputError
        If the folder holds something else, or model and description do not fit each other.
    """
    _refuse_leak(content)
    _check_model(content, model)
    protocol = _lowest_protocol(dict(content))
    described = content.model_dump(mode="json") | {"protocol": protocol}
    if not content.blocks:
        described = {name: value for name, value in described.items() if name not in _OF_SEVERAL}
    described = {name: value for name, value in described.items() if name not in _SINCE_2 or value is not None}
    _refuse_control_characters(described)
    files = {BUNDLE: _json(described), MODEL: _json(model.to_state())}
    if model.booster is not None:
        files[BOOSTER] = model.booster
        check_trees(parse_object(model.booster, what=BOOSTER))
    if oversized := [name for name, data in files.items() if len(data) > _CAPS[name]]:
        raise InputError(
            "a part of the bundle is too large", where=oversized[0], expected=f"{_CAPS[oversized[0]]} bytes"
        )
    return seal(folder, files, protocol=protocol)


def _json(content: Mapping[str, Any]) -> bytes:
    return (canonical_json(content) + "\n").encode("utf-8")


def read_sealed(folder: Path) -> Unsealed:
    """Files of a bundle, whose seal is checked but not what they say (:func:`load_bundle`)."""
    return unseal(folder, _CAPS, required=frozenset({BUNDLE, MODEL}))


def load_bundle(folder: Path) -> Bundle:
    """Read and check a bundle.

    Raises
    ------
    InputError
        Saying which check failed: manifest, files, hashes, protocol, JSON, description, prediction time or model.
    """
    found = read_sealed(folder)
    files = found.files
    raw = parse_object(files[BUNDLE], what=BUNDLE)
    if check_protocol(raw, what=BUNDLE) != found.protocol:
        raise InputError("the bundle is refused: manifest and description name different protocols", where=BUNDLE)
    try:
        content = BundleContent.model_validate_json(files[BUNDLE], strict=True)
    except ValidationError as error:
        faults = "; ".join(
            f"{ascii('.'.join(map(str, e['loc'])))[1:81]}: {e['msg'][:120]}"
            for e in error.errors(include_url=False, include_input=False)[:5]
        )
        raise InputError("the bundle is refused: its description is not valid", where=BUNDLE, got=faults) from None
    _refuse_control_characters(raw)
    try:
        _refuse_leak(content)
    except LeakError as error:
        what = "the bundle is refused: its model reads what is known only after it speaks"
        raise InputError(what, where=BUNDLE, got=error.what.rpartition(": ")[2]) from None
    booster = files.get(BOOSTER)
    if booster is not None:
        check_trees(parse_object(booster, what=BOOSTER))
    model = FrozenModel.from_state(parse_object(files[MODEL], what=MODEL), booster)
    _check_model(content, model)
    return Bundle(content, model, found.sha256)


def _refuse_leak(content: BundleContent) -> None:
    refuse_later({spec.name: spec.available_at for spec in content.inputs}, content.speaks_at)
    refuse_late_scans(content.blocks, content.speaks_at)


def _refuse_control_characters(node: object) -> None:
    """Texts of a bundle reach screens, cards and spreadsheets: none may steer them."""
    if isinstance(node, str) and _CONTROL.search(node):
        raise InputError("the bundle is refused: a text holds control characters", where=BUNDLE)
    children = [*node, *node.values()] if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        _refuse_control_characters(child)


def _check_model(content: BundleContent, model: FrozenModel) -> None:
    """The model must read exactly the declared inputs, and compute something for a patient of whom nothing is known."""
    declared = [(spec.name, spec.kind, spec.categories, spec.log) for spec in content.inputs]
    if [(c.name, c.kind, c.categories, c.log) for c in model.columns] != declared:
        raise InputError("the bundle is refused: its model reads other inputs than it declares", where=MODEL)
    if content.novelty is not None and len(content.novelty.mean) != model.selected.size:
        raise InputError("the bundle is refused: its novelty is of other inputs than its model's", where=MODEL)
    if model.horizon != content.definition.horizon_months:
        raise InputError("the bundle is refused: its model has another horizon than its endpoint", where=MODEL)
    nobody = pd.DataFrame({"patient_id": ["nobody"]})
    table = assemble(nobody, None, content.inputs, content.sources, speaks_at=content.speaks_at)
    refusal = InputError("the bundle is refused: its model does not compute a risk and probabilities", where=MODEL)
    try:
        with np.errstate(all="ignore"):
            # A vanishing scale would blow up every patient but the average one.
            if (model.scale < _SMALLEST_SCALE).any() or not computable(model.transform(table)).all():
                raise refusal
            numbers = np.append(model.probability(table, spoken_horizons(content, model)), model.risk(table))
    except ValueError:  # the tree library's own error is one
        raise refusal from None
    if not np.isfinite(numbers).all() or (numbers[:-1] < 0).any() or (numbers[:-1] > 1).any():
        raise refusal


def spoken_horizons(content: BundleContent, model: FrozenModel) -> tuple[int, ...]:
    """Declared horizons at which the model speaks, such as those within the follow-up of its training data."""
    return tuple(month for month in content.horizons if model.speaks_at(month))


def computable(inputs: pd.DataFrame) -> np.ndarray:
    """Whether the learner inputs of each row (``FrozenModel.transform``) are finite also in the single precision of
    trees.
    """
    return np.asarray((np.abs(inputs.to_numpy()) <= np.finfo(np.float32).max).all(axis=1))
