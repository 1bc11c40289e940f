"""What the standard of the Image Biomarker Standardisation Initiative (IBSI 1) says of features, for given settings.

The engine follows the definitions of the standard for most features, but the way from the scan to the grey levels
decides whether a number is the standardised one. `statement` answers that for one profile, feature by feature
(doi:10.1148/radiol.2020191145).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from radiomics_crlm.config import Strict, load_config
from radiomics_crlm.features.parts import engine, image_names, part_features, part_names
from radiomics_crlm.features.profiles import Profile, settings_hash
from radiomics_crlm.provenance.files import write_json
from radiomics_crlm.resources import resource

STATEMENT_FILE = "ibsi_statement.json"
# Filters of the engine that IBSI 2 knows in some form; the others have no counterpart.
_FILTERS = {"LoG": "filter_log", "Wavelet": "filter_wavelet"}
_SQUARED = ("Energy", "RootMeanSquared", "TotalEnergy")


class Deviation(Strict):
    """Why a value is not that of the standard (``deviation``), or what should be reported with it (``note``)."""

    kind: Literal["deviation", "note"]
    text: str


class Merging(Strict):
    """How the standard calls the merging of directions and slices, and the ending of the tags of reference values."""

    merging: str
    tag: str


class Family(Strict):
    """A family of features: name, what its values depend on, and merging in volumes and within slices."""

    ibsi: str
    depends: frozenset[Literal["mask", "intensities", "levels"]]
    volume: Merging | None = None
    slices: Merging | None = None

    def merging(self, profile: Profile) -> Merging | None:
        """The merging that the engine uses; none where nothing is merged."""
        return self.slices if profile.force_2d else self.volume


class Counterpart(Strict):
    """A feature of the engine in the words of the standard; ``ibsi`` is none if the standard lacks it."""

    ibsi: str | None
    id: str | None = Field(default=None, pattern=r"^[0-9A-Z]{4}$")
    tag: str | None = None
    levels: bool = False
    weighs_level: bool = False
    deviation: str | None = None
    remark: str | None = None


class FeatureMap(Strict):
    """The content of ``ibsi_features.yaml``."""

    deviations: dict[str, Deviation]
    families: dict[str, Family]
    features: dict[str, dict[str, Counterpart]]
    exceptions: dict[str, dict[str, str]]

    def by_definition(self, kind: str, name: str) -> tuple[str, ...]:
        """Deviations of a feature that no setting removes."""
        entry = self.features[kind][name]
        if entry.ibsi is None:
            return ("not_in_ibsi",)
        return () if entry.deviation is None else (entry.deviation,)

    def supported(self) -> list[tuple[str, str]]:
        """Class and name of the features that have a counterpart in the standard."""
        return [
            (kind, name)
            for kind, entries in self.features.items()
            for name, entry in entries.items()
            if entry.ibsi is not None
        ]


def load_feature_map() -> FeatureMap:
    """Read the map that the package ships.

    Examples
    --------
    >>> entry = load_feature_map().features["glcm"]["Idn"]
    >>> entry.id, entry.ibsi
    ('NDRX', 'Normalised inverse difference')
    """
    return load_config(FeatureMap, resource("features/data/ibsi_features.yaml"))


@dataclass(frozen=True)
class FeatureStatement:
    """One feature of a profile.

    ``defined``: the engine's definition is that of the standard. ``standardised``: so are all steps before it, that is,
    ``deviations`` is empty. ``notes`` should be reported but deviate from nothing.
    """

    name: str
    ibsi_name: str | None
    ibsi_id: str | None
    defined: bool
    standardised: bool
    deviations: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """The features of one profile, the merging of each texture family, and the meaning of the codes that occur."""

    profile: str
    settings_hash: str
    engine: str
    features: tuple[FeatureStatement, ...]
    merging: Mapping[str, str]
    codes: Mapping[str, str]

    def table(self) -> pd.DataFrame:
        """One row per feature; codes separated by ``;``."""
        rows = [
            {
                "name": f.name,
                "ibsi_name": f.ibsi_name,
                "ibsi_id": f.ibsi_id,
                "defined": f.defined,
                "standardised": f.standardised,
                "deviations": ";".join(f.deviations),
                "notes": ";".join(f.notes),
            }
            for f in self.features
        ]
        return pd.DataFrame(rows)

    def text(self) -> str:
        """A short text for a report: how many features are standardised as computed, and why the others are not."""
        total = len(self.features)
        defined = sum(f.defined for f in self.features)
        standardised = sum(f.standardised for f in self.features)
        counts = Counter(code for f in self.features for code in (*f.deviations, *f.notes))
        lines = [
            f"IBSI 1, profile {self.profile}: {standardised} of {total} features are standardised as computed; "
            f"{defined} follow a definition of the standard."
        ]
        lines += [f"{code} ({counts[code]} features): {text}" for code, text in self.codes.items()]
        if self.merging:
            families = "; ".join(f"{family}: {merging}" for family, merging in self.merging.items())
            lines.append(f"Merging of directions and slices: {families}.")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """All of it for a file."""
        return {
            "settings_hash": self.settings_hash,
            "engine": self.engine,
            "merging": dict(self.merging),
            "codes": dict(self.codes),
            "text": self.text(),
            "features": [asdict(f) for f in self.features],
        }


def statement(profile: Profile) -> Statement:
    """For the settings of a profile, which features are the standardised ones and why the others are not.

    The statement follows from the settings alone. What depends on the data comes with each row of the feature table, as
    flags (regions with one grey level, one slice, ...).

    Examples
    --------
    >>> from radiomics_crlm.features.profiles import load_profiles
    >>> found = statement(load_profiles().profiles["ct-portal-venous-native"])
    >>> [f.deviations for f in found.features if f.name == "original_firstorder_Kurtosis"]
    [('kurtosis_not_excess',)]
    """
    known = load_feature_map()
    images = image_names(profile)
    settings = _settings(profile)
    features = []
    for part in part_names(profile):
        for full in part_features(part):
            image, kind, name = full.split("_", 2)
            codes = [*known.by_definition(kind, name), *_of_image(images.get(image, "Original"))]
            codes += [code for code, touched in settings if touched & _touchable(known, kind, name)]
            features.append(_entry(full, known.features[kind][name], tuple(codes), known))
    used = {code for f in features for code in (*f.deviations, *f.notes)}
    merged = {k: known.families[k].merging(profile) for k in profile.feature_classes}
    return Statement(
        profile=profile.name,
        settings_hash=settings_hash(profile, engine()),
        engine=engine(),
        features=tuple(features),
        merging={known.families[k].ibsi: m.merging for k, m in merged.items() if m is not None},
        codes={code: entry.text for code, entry in known.deviations.items() if code in used},
    )


def write_statement(profiles: Iterable[Profile], folder: Path) -> Path:
    """Write the statements of the profiles of a feature table beside it, as ``ibsi_statement.json``."""
    path = folder / STATEMENT_FILE
    write_json(path, {p.name: statement(p).as_json() for p in profiles})
    return path


def _entry(name: str, entry: Counterpart, codes: tuple[str, ...], known: FeatureMap) -> FeatureStatement:
    """One row: codes in deviations and notes."""
    deviations = tuple(c for c in codes if known.deviations[c].kind == "deviation")
    return FeatureStatement(
        name=name,
        ibsi_name=entry.ibsi,
        ibsi_id=entry.id,
        defined=entry.ibsi is not None and entry.deviation is None,
        standardised=not deviations,
        deviations=deviations,
        notes=tuple(c for c in codes if c not in deviations),
    )


def _of_image(kind: str) -> tuple[str, ...]:
    """What a filter of the engine means for all features of its image."""
    return () if kind == "Original" else (_FILTERS.get(kind, "filter_not_in_ibsi"),)


def _touchable(known: FeatureMap, kind: str, name: str) -> set[str]:
    """What the value of a feature depends on, in the words of `_settings`."""
    entry = known.features[kind][name]
    touchable: set[str] = set(known.families[kind].depends)
    touchable |= {"levels"} if entry.levels else set()
    touchable |= {"number of the level"} if entry.weighs_level else set()
    touchable |= {"squares"} if name in _SQUARED else set()
    return touchable | ({"neighbours"} if kind not in ("shape", "firstorder") else set())


def _settings(profile: Profile) -> list[tuple[str, set[str]]]:
    """Codes that apply to a profile, with what they touch."""
    own_grid = profile.resample_mm is not None and profile.grid == "pyradiomics"
    spacing = profile.resample_mm or (0.0, 1.0, 2.0)  # the native grid may be anything
    by_width = profile.bin_width is not None
    rules = [
        ("grid_at_corner", own_grid, {"mask"}),
        ("mask_by_nearest_voxel", own_grid, {"mask"}),
        ("hu_truncated", own_grid and profile.modality == "CT", {"intensities"}),
        ("intensities_rescaled", profile.normalize is not None, {"intensities"}),
        ("intensities_corrected", profile.prepared, {"intensities"}),
        ("energy_shifted", profile.voxel_array_shift != 0, {"squares"}),
        *_bins(profile),
        ("fixed_width_of_arbitrary_units", by_width and profile.modality == "MR", {"levels"}),
        ("voxels_not_isotropic", not profile.force_2d and len(set(spacing)) > 1, {"neighbours"}),
    ]
    return [(code, touched) for code, holds, touched in rules if holds]


def _bins(profile: Profile) -> list[tuple[str, bool, set[str]]]:
    """Where bins of fixed width start."""
    if profile.bin_width is None or profile.bins_from == "resegment_range":
        return []
    low = None if profile.resegment_range is None else profile.resegment_range[0]
    same_edges = low is not None and low % profile.bin_width == 0
    return [
        ("bins_at_multiples_of_width", not same_edges, {"levels"}),
        ("first_level_at_region_minimum", same_edges, {"number of the level"}),
    ]
