"""Facts on images and features: what extraction left in the tables and bundles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from radiomics_crlm.report.artefacts import STATEMENT
from radiomics_crlm.report.checklists.evidence import Fact, Sources, no, yes
from radiomics_crlm.report.wording import listed


def _extractions(run: Sources) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Extraction settings in bundles: file, path and settings, each profile once."""
    seen: set[str] = set()
    for folder, parts in run.bundles():
        content = parts.get("bundle.json", {})
        named = {"$.extraction": content.get("extraction")}
        named |= {f"$.extractions.{name}": body for name, body in (content.get("extractions") or {}).items()}
        for path, body in named.items():
            if body and body.get("settings") and body["profile"] not in seen:
                seen.add(body["profile"])
                yield f"{folder}/bundle.json", f"{path}.settings", body["settings"]


def _settings(run: Sources, keys: tuple[str, ...]) -> Fact | None:
    """All profiles state these settings."""
    found = []
    for file, path, settings in _extractions(run):
        if not all(key in settings for key in keys):
            return None
        words = "; ".join(f"{key.replace('_', ' ')} {_shown(settings[key])}" for key in keys)
        found.append(run.at(file, f"{path}.{keys[0]}", words))
    return yes(*found) if found else None


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return listed(f"{v:g}" if isinstance(v, float) else str(v) for v in value) or "none"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def settings(run: Sources) -> Fact | None:
    """All settings of the extraction, and their hash with the features."""
    found = [run.at(file, path, f"{len(body)} settings, defaults included") for file, path, body in _extractions(run)]
    return yes(*found) if found else None


def preprocessing(run: Sources) -> Fact | None:
    """Grid, normalisation and resegmentation are stated."""
    return _settings(run, ("resample_mm", "normalize", "resegment_range"))


def resampling(run: Sources) -> Fact | None:
    """Voxel size and interpolation are stated."""
    return _settings(run, ("resample_mm", "interpolator"))


def discretisation(run: Sources) -> Fact | None:
    """Width or number of bins is stated."""
    return _settings(run, ("bin_width", "bin_count"))


def image_types(run: Sources) -> Fact | None:
    """Original image and filters are stated."""
    return _settings(run, ("original", "log_sigma_mm", "wavelet"))


def feature_classes(run: Sources) -> Fact | None:
    """Classes of features are stated."""
    return _settings(run, ("feature_classes",))


def engine(run: Sources) -> Fact | None:
    """The program of the extraction and its version."""
    name = run.record("engine")
    return yes(run.at_record("engine", str(name))) if name and any(c.isdigit() for c in str(name)) else None


def feature_count(run: Sources) -> Fact | None:
    """How many features were extracted, and how many are candidates."""
    table, panel = run.table("features_patient"), run.table("sample_size")
    if table is None:
        return None
    made = sum("__" in str(c) for c in table)
    found = [run.at_table("features_patient", ["largest__*, weighted__*, ..."], f"{made} features per patient")]
    if panel is not None:
        found.append(run.at_table("sample_size", ["feature_set", "parameters"], "candidates of each feature set"))
    return yes(*found)


def one_setting(run: Sources) -> Fact | None:
    """All features of a kind of scan were extracted with the same settings and program."""
    table = run.table("features_lesion")
    if table is None:
        return None
    used = table.dropna(subset=["settings_hash"]).groupby(["modality", "sequence"])[["settings_hash", "engine"]]
    if (used.nunique() != 1).to_numpy().any():
        return None
    shows = "one hash of settings and one engine for each kind of scan"
    return yes(run.at_table("features_lesion", ["settings_hash", "engine"], shows))


def quality(run: Sources) -> Fact | None:
    """Scans were checked for phase and quality."""
    table = run.table("quality")
    if table is None:
        return None
    shows = f"{table['check'].nunique()} checks of every scan, with verdicts"
    return yes(run.at_table("quality", ["check", "verdict", "value"], shows))


def regions(run: Sources) -> Fact | None:
    """All outlined lesions have features, and how they are combined is in the names of the aggregates."""
    lesions, features = run.table("lesions"), run.table("features_patient")
    if lesions is None or features is None:
        return None
    kinds = sorted(
        {str(c).partition("__")[0] for c in features if "__" in str(c)} & {"largest", "weighted", "dispersion"}
    )
    return yes(
        run.at_table("lesions", ["lesion", "n_voxels", "volume_ml"], "every outlined lesion"),
        run.at_table("features_patient", [f"{kind}__*" for kind in kinds], f"lesions combined: {listed(kinds)}"),
    )


def standardised(run: Sources) -> Fact | None:
    """A statement says of every feature whether it follows the IBSI definition."""
    if not run.artefacts.standardisation or run.record("engine") is None:
        return None
    profile = next(iter(sorted(run.artefacts.standardisation)))
    shows = "what of the features follows the image biomarker standard (IBSI), and what deviates"
    return yes(run.at(f"tables/{STATEMENT}", f"$.{profile}", shows), run.at_record("engine", str(run.record("engine"))))


def reliability(run: Sources) -> Fact | None:
    """Features were measured again after perturbation of outlines, or by other readers."""
    table = run.table("feature_stability")
    if table is None:
        return None
    raters = listed(sorted(set(table["raters"].astype(str))))
    return yes(run.at_table("feature_stability", ["raters", "icc2", "icc2_lower"], f"ICC over {raters}"))


def robust_only(run: Sources) -> Fact | None:
    """Feature sets take only robust features; if none does, the answer is no."""
    sets = {n: b for n, b in run.experiment.feature_sets.items() if b.radiomics is not None}
    if not sets or run.record("experiment.feature_sets") is None:
        return None
    asking = [name for name, body in sets.items() if any(s.robustness for s in body.selections)]
    if not asking:
        return no(run.at_record("experiment.feature_sets", "no feature set asks for robust features"))
    tested = reliability(run)
    if tested is None or len(asking) < len(sets):
        return None
    wanted = [run.at_record(f"experiment.feature_sets.{n}.radiomics", "robust in each training fold") for n in asking]
    return yes(*wanted, *tested.evidence)


def one_imaging_set(run: Sources) -> Fact | None:
    """All radiomics come from one kind of scan at one time."""
    selections = [s for body in run.experiment.feature_sets.values() for s in body.selections]
    kinds = {(s.modality, s.sequence) for s in selections}
    if len(kinds) != 1 or any(s.timepoints for s in selections) or run.record("experiment.feature_sets") is None:
        return None
    modality, sequence = kinds.pop()
    shows = f"{modality}, {sequence.replace('_', ' ')} only"
    return yes(run.at_record("experiment.feature_sets", shows))


def volume(run: Sources) -> Fact | None:
    """The volume of the lesions alone was tried as a control, or its correlation with features measured."""
    table = run.table("answers")
    if table is None:
        return None
    rows = table[(table["arm"] == "volume_only") & table["estimate"].notna()]
    if not len(rows):
        return None
    return yes(
        run.at_table("answers", ["arm", "estimate", "lower", "upper"], "volume of the lesions alone, as a control")
    )
