"""From an experiment file to clean tables: cohort, features, rule results, outcomes and folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from radiomics_crlm import clinical as rule_engine
from radiomics_crlm.cohort.clinical import Cohort, read_cohort_folder
from radiomics_crlm.cohort.endpoints import build_outcome
from radiomics_crlm.cohort.exclusions import Exclusion
from radiomics_crlm.cohort.foreign_features import with_features
from radiomics_crlm.cohort.splits import design_folds, outcome_status
from radiomics_crlm.cohort.tcia import read_tcia_clinical
from radiomics_crlm.config import (
    EndpointConfig,
    ExperimentConfig,
    FeatureSetConfig,
    SimulatedSource,
    TciaClinicalSource,
    load_endpoints,
    parse_config,
)
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.features.batch import ExtractionResult, extract_cohort
from radiomics_crlm.features.profiles import Profile, load_profiles
from radiomics_crlm.modelling.design import availability
from radiomics_crlm.modelling.scans import blocks_of, choose_block, refuse_late_scans
from radiomics_crlm.phantom.cohort import simulate_cohort
from radiomics_crlm.phantom.settings import SimulationConfig
from radiomics_crlm.schema import load_schema
from radiomics_crlm.study.stable_features import read_perturbed

Progress = Callable[[str, int, int], None]
"""Called with the stage, the number of finished steps and the number of all steps."""


@dataclass(frozen=True)
class Prepared:
    """Everything that training needs, as tables."""

    cohort: Cohort
    endpoints: Mapping[str, EndpointConfig]
    available_at: Mapping[str, str]
    features_patient: pd.DataFrame | None
    extraction: ExtractionResult | None
    rules: pd.DataFrame
    outcomes: Mapping[str, pd.DataFrame]
    folds: pd.DataFrame
    exclusions: tuple[Exclusion, ...]
    perturbed: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def acquire_cohort(
    experiment: ExperimentConfig,
    *,
    data: Path | None,
    out: Path,
    jobs: int,
    progress: Progress,
    made: Path | None = None,
) -> Cohort:
    """Simulate the cohort into ``out/cohort``, or read it from ``made`` if it was simulated before, or from ``data``.

    Raises
    ------
    ConfigError
        If the experiment needs ``--data`` and it was not given.
    InputError
        If the data are absent or unusable as a whole.
    """
    source = experiment.cohort
    if isinstance(source, SimulatedSource):
        settings = parse_config(SimulationConfig, source.settings, where=f"{experiment.name}: cohort.settings")
        folder = out / "cohort" if made is None else made
        if made is None:
            simulate_cohort(settings, folder, jobs=jobs, on_progress=lambda done, n: progress("simulate", done, n))
        return replace(read_cohort_folder(folder), name="simulated cohort", simulated=True)
    if data is None:
        raise ConfigError(f"the experiment {experiment.name!r} reads real data", remedy="pass --data DIR")
    if isinstance(source, TciaClinicalSource):
        return read_tcia_clinical(data, radiomics=source.radiomics)
    cohort = read_cohort_folder(data)
    return cohort if source.features is None else with_features(cohort, source.features)


def choose_endpoints(experiment: ExperimentConfig) -> dict[str, EndpointConfig]:
    """The definitions of the endpoints that an experiment names.

    Raises
    ------
    ConfigError
        For an unknown endpoint, listing the known ones.
    """
    known = load_endpoints()
    if unknown := [name for name in experiment.endpoints if name not in known]:
        raise ConfigError("unknown endpoints", where=experiment.name, expected=", ".join(known), got=", ".join(unknown))
    return {name: known[name] for name in experiment.endpoints}


def extract_features(
    cohort: Cohort,
    *,
    profiles: Mapping[str, Profile],
    jobs: int,
    progress: Progress,
    dask: str | None = None,
    cache: Path | None = None,
) -> tuple[ExtractionResult, pd.DataFrame]:
    """Lesion rows and patient aggregates of all scans of a cohort; a bad scan or lesion costs itself only.

    ``dask`` and ``cache`` are those of `features.batch.extract_cohort`.
    """
    if cohort.imaging is None or cohort.root is None:
        raise InputError("the cohort has no imaging manifest", expected="imaging.csv in the cohort folder")
    result = extract_cohort(
        cohort.imaging,
        cohort.root,
        profiles,
        jobs=jobs,
        dask=dask,
        cache=cache,
        on_progress=lambda done, n: progress("extract", done, n),
    )
    return result, result.patients()


def prepare(
    experiment: ExperimentConfig,
    *,
    data: Path | None,
    out: Path,
    jobs: int,
    progress: Progress,
    dask: str | None = None,
    cache: Path | None = None,
    made: Path | None = None,
) -> Prepared:
    """Run all stages up to the folds.

    ``made`` is for the cohort (`acquire_cohort`), ``dask`` and ``cache`` are for the extraction (`extract_features`).

    Raises
    ------
    ConfigError, InputError
        For an unusable experiment or cohort; single bad patients and scans become exclusions instead.
    LeakError
        If a feature set asks for scans that are made only after the model of an endpoint speaks.
    """
    endpoints, perturbed = choose_endpoints(experiment), read_perturbed(experiment, data)
    for endpoint in endpoints.values():
        for feature_set in experiment.feature_sets.values():
            refuse_late_scans(blocks_of(feature_set), endpoint.prediction_time)
    cohort = acquire_cohort(experiment, data=data, out=out, jobs=jobs, progress=progress, made=made)
    features, extraction = cohort.features_patient, None
    exclusions = list(cohort.exclusions)
    if features is None and cohort.imaging is not None:
        profiles = load_profiles().for_scans(experiment.profiles)
        extraction, features = extract_features(
            cohort, profiles=profiles, jobs=jobs, progress=progress, dask=dask, cache=cache
        )
        exclusions += extraction_exclusions(extraction.exclusions)
    progress("rules", 0, 1)
    rules = rule_engine.evaluate_table(cohort.clinical, experiment.rules, sources=cohort.origins)
    progress("rules", 1, 1)
    outcomes = {}
    for name, endpoint in endpoints.items():
        outcome = build_outcome(cohort.clinical, endpoint, name)
        table, scanless = need_scans(outcome.table, experiment.feature_sets, features, endpoint, name)
        outcomes[name] = table
        exclusions += [*outcome.exclusions, *scanless]
    status = outcome_status(cohort.clinical["patient_id"].tolist(), outcomes)
    return Prepared(
        cohort=cohort,
        endpoints=endpoints,
        available_at=availability(load_schema("clinical"), cohort.notes.available_at),
        features_patient=features,
        extraction=extraction,
        rules=rules,
        outcomes=outcomes,
        folds=design_folds(cohort.clinical, status, experiment.design),
        exclusions=tuple(exclusions),
        perturbed=perturbed,
    )


def extraction_exclusions(table: pd.DataFrame) -> list[Exclusion]:
    """The scans that an extraction could not use."""
    return [
        Exclusion(row["patient_id"], row["stage"], row["code"], row["reason"], timepoint=row["timepoint"])
        for row in table.to_dict("records")
    ]


def need_scans(
    outcome: pd.DataFrame,
    feature_sets: Mapping[str, FeatureSetConfig],
    features: pd.DataFrame | None,
    endpoint: EndpointConfig,
    name: str,
) -> tuple[pd.DataFrame, list[Exclusion]]:
    """Leave out patients without a usable scan, so that all models of an endpoint are compared on the same patients.

    Patients stay who lack a scan that a feature set imputes; who has several equally late scans is left out anyhow.
    """
    blocks = {block for wanted in feature_sets.values() for block in blocks_of(wanted)}
    if not blocks or features is None:
        return outcome, []
    reasons: dict[str, tuple[str, str]] = {}
    for block in sorted(blocks, key=lambda block: (block.label, str(block))):
        choice = choose_block(features, block, speaks_at=endpoint.prediction_time)
        have, label = set(choice.table.index), str(block.scans)
        text = block.label.replace(label, f"no usable {label} scan", 1)
        text = text if block.moment else f"{text} at {endpoint.prediction_time}"
        for key in outcome["patient_id"]:
            if key in choice.ambiguous:
                reasons.setdefault(key, ("ambiguous_scan", f"several equally late {label} scans"))
            elif block.required and key not in have:
                reasons.setdefault(key, ("no_usable_scan", text))
    kept = outcome[~outcome["patient_id"].isin(reasons)].reset_index(drop=True)
    return kept, [Exclusion(key, "features", code, text, endpoint=name) for key, (code, text) in reasons.items()]
