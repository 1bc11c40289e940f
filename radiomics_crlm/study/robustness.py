"""Robustness of a cohort's features: perturbations and other readers, negative controls, correlation with volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from radiomics_crlm.cohort.clinical import clean_imaging, find_table
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.agreement import icc
from radiomics_crlm.evaluation.correlation import spearman
from radiomics_crlm.features.controls import CONTROLS
from radiomics_crlm.features.perturbation import DEFAULTS, plan_perturbations
from radiomics_crlm.features.profiles import Profile, load_profiles, profile_for
from radiomics_crlm.features.repeated import ReaderMask, Repeated, RepeatTask, measure_repeatedly
from radiomics_crlm.imaging.scan import SCAN_KEY, ScanFiles, scans_of
from radiomics_crlm.parallel import Lost, run
from radiomics_crlm.provenance.files import write_text
from radiomics_crlm.provenance.tables import read_raw, write_table
from radiomics_crlm.report.robustness_page import render_robustness
from radiomics_crlm.schema import load_schema, parse_table
from radiomics_crlm.study.prepare import Progress

MINIMUM = 0.75
"""Lower limit of ICC(2,1) from which a feature counts as stable: good reliability or better, with 97.5 % confidence."""
_SOURCES = {"perturbations": "perturbation", "readers": "reader"}
_LESION_KEY = [*SCAN_KEY, "lesion"]


@dataclass(frozen=True)
class RobustnessSettings:
    """What is done to every scan.

    Parameters
    ----------
    perturbations
        As written on the command line (`features.perturbation.parse_perturbation`).
    repeats
        How often random perturbations are done.
    controls
        Whether negative controls are made.
    minimum
        Bound of the lower limit of ICC(2,1).
    seed
        Of everything random.

    Raises
    ------
    ConfigError
        For a bound outside 0 to 1, a negative seed, perturbations that cannot be parsed.
    """

    perturbations: tuple[str, ...] = DEFAULTS
    repeats: int = 1
    controls: bool = True
    minimum: float = MINIMUM
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= 1 or self.seed < 0:
            raise ConfigError(
                "the bound or the seed is out of range", expected="a bound from 0 to 1, a seed of 0 or more",
                got=f"{self.minimum:g}, {self.seed}",
            )  # fmt: skip
        plan_perturbations(self.perturbations, self.repeats)


@dataclass(frozen=True)
class RobustnessResult:
    """Tables, the page that shows them, and what was left out."""

    features: pd.DataFrame
    stability: pd.DataFrame
    controls: pd.DataFrame
    exclusions: tuple[Exclusion, ...]
    page: Path


def robustness_of_cohort(
    source: Path,
    out: Path,
    settings: RobustnessSettings,
    *,
    profile: str | None = None,
    profiles: Path | None = None,
    jobs: int = 1,
    dask: str | None = None,
    progress: Progress,
) -> RobustnessResult:
    """Measure all scans of a manifest again and again, and judge every feature.

    Writes ``perturbed_features``, ``perturbed_patients``, ``feature_stability``, ``controls`` and ``exclusions`` as
    Parquet and ``robustness.html`` to ``out``.

    Parameters
    ----------
    source
        Folder with the imaging manifest and, for the agreement of readers, a table ``readers`` beside it.
    settings
        What is done.
    profile, profiles
        Extraction profile for all scans of its modality, and the file of profiles, where not the shipped ones.
    jobs, dask
        As for `parallel.run`; no result depends on them.

    Raises
    ------
    ConfigError, InputError
        For unknown settings or an unusable manifest, before the first scan; if no scan could be measured.
    """
    raw = read_raw(find_table(source, "imaging"), what="imaging manifest")
    known = set(raw["patient_id"].astype(str).str.strip()) if "patient_id" in raw else set()
    table, bad = clean_imaging(raw, known)
    scans = scans_of(table)
    chosen = _profiles(scans, profile, profiles)
    readers, unread = _readers(source, scans)
    plan = tuple(plan_perturbations(settings.perturbations, settings.repeats))
    tasks = [
        RepeatTask(s, source, chosen[s.key], plan, readers.get(s.key, ()), settings.controls, settings.seed)
        for s in scans
    ]
    found: list[Repeated] = []
    exclusions = [*bad, *unread]
    progress("robustness", 0, len(tasks))
    for number, (task, result) in enumerate(
        zip(tasks, run(measure_repeatedly, tasks, jobs=jobs, dask=dask), strict=True), 1
    ):
        progress("robustness", number, len(tasks))
        if isinstance(result, Lost):
            result = Repeated(failures=[("worker_died", f"{'/'.join(task.files.key[2:])}: the worker died each time")])
        found.append(result)
        patient, timepoint = task.files.key[:2]
        exclusions += [
            Exclusion(patient, "robustness", code, why, timepoint=timepoint) for code, why in result.failures
        ]
    return _written(found, settings, tuple(exclusions), out)


def _written(
    found: Sequence[Repeated], settings: RobustnessSettings, exclusions: tuple[Exclusion, ...], out: Path
) -> RobustnessResult:
    out.mkdir(parents=True, exist_ok=True)
    write_table(exclusion_table(exclusions), out / "exclusions.parquet", "exclusions")
    if not any(result.features for result in found):
        raise InputError("no scan could be measured", expected="at least one", remedy="see exclusions.parquet")
    features = write_table(
        pd.concat([t for r in found for t in r.features], ignore_index=True),
        out / "perturbed_features.parquet",
        "perturbed_features",
    )
    patients = pd.concat([t for r in found for t in r.patients], ignore_index=True)
    write_table(patients, out / "perturbed_patients.parquet", "perturbed_patients")
    tables = [t for r in found for t in r.controls]
    columns = list(load_schema("controls").columns)
    controls = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    controls = write_table(controls, out / "controls.parquet", "controls")
    stability = feature_stability(features, controls, minimum=settings.minimum)
    stability = write_table(stability, out / "feature_stability.parquet", "feature_stability")
    write_text(out / "robustness.html", render_robustness(stability))
    return RobustnessResult(features, stability, controls, exclusions, out / "robustness.html")


def feature_stability(features: pd.DataFrame, controls: pd.DataFrame, *, minimum: float = MINIMUM) -> pd.DataFrame:
    """Table ``feature_stability``: kinds of scans apart, perturbations and readers apart.

    Parameters
    ----------
    features, controls
        Tables ``perturbed_features`` and ``controls``. A lesion without one of the ratings of a feature is left out of
        that feature.
    minimum
        Bound of the lower 95 % limit of ICC(2,1).
    """
    tables = []
    for (modality, sequence), rows in features.groupby(["modality", "sequence"], sort=False):
        names = [c for c in rows.columns if c.startswith("lesion__") and rows[c].notna().any()]
        here = controls[(controls["modality"] == modality) & (controls["sequence"] == sequence)]
        shared = _correlations(rows[rows["source"] == "original"], here, names)
        for raters, wanted in _SOURCES.items():
            rated = rows[rows["source"].isin(["original", wanted])]
            if (rated["source"] == wanted).any():
                judged = _agreement_table(rated, names, minimum)
                key = {"modality": modality, "sequence": sequence, "raters": raters, "feature": names}
                tables.append(pd.concat([pd.DataFrame(key), judged, shared], axis=1))
    columns = list(load_schema("feature_stability").columns)
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _agreement_table(rows: pd.DataFrame, names: list[str], minimum: float) -> pd.DataFrame:
    """ICC of each feature over the ratings in ``rows``."""
    raters = list(dict.fromkeys(rows["perturbation"]))
    lesions = pd.MultiIndex.from_frame(rows[_LESION_KEY].drop_duplicates())
    parts = [rows[rows["perturbation"] == rater].set_index(_LESION_KEY)[names].reindex(lesions) for rater in raters]
    values = np.stack([part.to_numpy(dtype=float) for part in parts], axis=1)
    agreement, consistency = icc(values, "agreement"), icc(values, "consistency")
    table = pd.DataFrame({"lesions": agreement.subjects, "n_raters": len(raters), "flag": agreement.flag})
    for name, found in (("icc2", agreement), ("icc3", consistency)):
        table[name], table[f"{name}_lower"], table[f"{name}_upper"] = found.estimate, found.lower, found.upper
    return table.assign(stable=agreement.lower >= minimum, bound=minimum)


def _correlations(original: pd.DataFrame, controls: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Spearman correlation of each feature with the volume of the lesion and with its own controls."""
    values, patients = original[names].to_numpy(dtype=float), original["patient_id"].to_numpy(dtype=str)
    with_volume = spearman(values, original["volume_ml"].to_numpy(dtype=float), patients)
    table = pd.DataFrame(
        {
            "volume_spearman": with_volume.estimate,
            "volume_lower": with_volume.lower,
            "volume_upper": with_volume.upper,
        }
    )
    lesions = pd.MultiIndex.from_frame(original[_LESION_KEY])
    for control in CONTROLS:
        other = controls[controls["control"] == control].set_index(_LESION_KEY).reindex(columns=names)
        theirs = other.reindex(lesions).to_numpy(dtype=float)
        table[f"{control}_spearman"] = spearman(values, theirs, patients).estimate
    return table


def _profiles(
    scans: Sequence[ScanFiles], name: str | None, path: Path | None
) -> Mapping[tuple[str, ...], Profile | None]:
    """Profile of each scan: the one that is named for its modality, or that of its kind."""
    config = load_profiles(path)
    override = {}
    if name is not None:
        if name not in config.profiles:
            raise ConfigError("unknown extraction profile", expected=", ".join(config.profiles), got=repr(name))
        kinds = {f"{s.modality}/{s.sequence}" for s in scans if s.modality == config.profiles[name].modality}
        override = dict.fromkeys(sorted(kinds), name)
    by_kind = config.for_scans(override)
    return {s.key: profile_for(by_kind, s.modality, s.sequence) for s in scans}


def _readers(
    source: Path, scans: Sequence[ScanFiles]
) -> tuple[Mapping[tuple[str, ...], tuple[ReaderMask, ...]], list[Exclusion]]:
    """Masks of other readers by scan, and the rows of their table that cannot be used."""
    if not any((source / f"readers{ending}").is_file() for ending in (".csv", ".parquet")):
        return {}, []
    schema = load_schema("readers")
    parsed = parse_table(read_raw(find_table(source, "readers"), what="table of readers"), schema)
    reasons = {problem.row - 2: (problem.code, problem.sentence()) for problem in reversed(parsed.problems)}
    repeated = parsed.table.duplicated(list(schema.key), keep=False)
    known = {scan.key for scan in scans}
    masks: dict[tuple[str, ...], tuple[ReaderMask, ...]] = {}
    exclusions = []
    for position, row in enumerate(parsed.table.to_dict("records")):
        key = tuple(str(row[column]) for column in SCAN_KEY)
        code, reason = reasons.get(position, ("", ""))
        if not code and repeated.iloc[position]:
            code, reason = "duplicate_reader", f"row {position + 2}: the same scan and reader stand in several rows"
        elif not code and key not in known:
            code, reason = "unknown_scan", f"row {position + 2}: the imaging manifest has no such scan"
        if code:
            patient = key[0] if pd.notna(row["patient_id"]) else f"(row {position + 2})"
            exclusions.append(Exclusion(patient, "readers", code, reason, timepoint=key[1]))
        else:
            masks[key] = (*masks.get(key, ()), ReaderMask(str(row["reader"]), str(row["mask"]), str(row["mask_roles"])))
    return masks, exclusions
