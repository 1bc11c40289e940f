"""The parts in which features are computed and cached: names, what each depends on, and rows made from them.

A part is one feature class on one image: ``shape``, ``original_firstorder``, ``log-sigma-2-0-mm-3D_glcm``. Changing a
setting changes the hashes of those parts only whose values depend on it.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.features.formulas import SHAPE, class_features
from radiomics_crlm.features.profiles import Profile, engine_image_types, engine_settings, settings_hash

LESION_PREFIX = "lesion__"
REGION_PREFIX = "region__"
_SHAPE_PREFIX = "original_shape_"
# Raised whenever our own code may change a value in any bit; parts cached before are then computed again.
_REVISION = 1
# What the values pass through besides the engine.
_LIBRARIES = ("numpy", "scipy", "SimpleITK", "PyWavelets")
# Settings of the engine that matter after the filters: to all texture classes, or to one class.
_BINNING = ("binWidth", "binCount")
# A feature of each class that tells a region of one grey level after binning, and its value there.
_ONE_LEVEL = {
    "firstorder": ("Uniformity", 1.0),
    "glcm": ("MaximumProbability", 1.0),
    "glrlm": ("GrayLevelVariance", 0.0),
    "glszm": ("GrayLevelVariance", 0.0),
    "gldm": ("GrayLevelVariance", 0.0),
}


@dataclass(frozen=True)
class Region:
    """What is measured: a lesion by its label, or an organ (label 0)."""

    role: str
    label: int = 0


@dataclass
class RegionFeatures:
    """Features of one region.

    ``parts`` maps the name of a part to its features, named as the engine does (``original_glcm_Contrast``). A part
    without features means that it is not defined for this region: the 3-D shape of a region one voxel thick, or an
    image that the filter could not make. ``status``, ``reason`` and ``flags`` are those of the tables.
    """

    region: Region
    status: str
    reason: str = ""
    flags: str = ""
    parts: dict[str, dict[str, float]] = field(default_factory=dict)


@functools.cache
def engine() -> str:
    """Name and version of the installed pyradiomics distribution, e.g. ``pyradiomics-bhklab 3.1.4``.

    Raises
    ------
    ConfigError
        If no known distribution owns the package ``radiomics``.
    """
    for name in ("pyradiomics-bhklab", "pyradiomics"):
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    raise ConfigError("no known distribution of pyradiomics is installed", remedy="reinstall the package")


def image_names(profile: Profile) -> dict[str, str]:
    """Images of a profile, in order, and the engine's name of the filter that makes each.

    Examples
    --------
    >>> from radiomics_crlm.features.profiles import load_profiles
    >>> image_names(load_profiles().profiles["ct-portal-venous"])
    {'original': 'Original', 'log-sigma-2-0-mm-3D': 'LoG'}
    """
    names: dict[str, str] = {}
    for kind, own in engine_image_types(profile).items():
        made = {
            "LoG": [f"log-sigma-{str(float(s)).replace('.', '-')}-mm-3D" for s in own.get("sigma", ())],
            "Wavelet": ["wavelet-" + "".join(p) for p in itertools.product("LH", repeat=2 if profile.force_2d else 3)],
            "LBP2D": ["lbp-2D"],
            "LBP3D": ["lbp-3D-m1", "lbp-3D-m2", "lbp-3D-k"],
        }
        names |= dict.fromkeys(made.get(kind, [kind.lower()]), kind)
    return names


def part_names(profile: Profile) -> list[str]:
    """Parts of a profile: shape, then class by class for the original and each filtered image."""
    classes = [c for c in profile.feature_classes if c != SHAPE]
    shape = [SHAPE] if SHAPE in profile.feature_classes else []
    return shape + [f"{image}_{kind}" for image in image_names(profile) for kind in classes]


def part_features(part: str) -> list[str]:
    """Names of the features of a part, without prefix of the region.

    Examples
    --------
    >>> part_features("original_ngtdm")[0]
    'original_ngtdm_Busyness'
    """
    if part == SHAPE:
        return [_SHAPE_PREFIX + name for name in class_features(SHAPE)]
    return [f"{part}_{name}" for name in class_features(part.rsplit("_", 1)[1])]


def feature_names(profile: Profile, prefix: str = LESION_PREFIX) -> list[str]:
    """Feature columns of a profile, in order: shape, then class by class for the original and each filtered image.

    Examples
    --------
    >>> from radiomics_crlm.features.profiles import load_profiles
    >>> names = feature_names(load_profiles().profiles["ct-portal-venous-native"])
    >>> len(names), "lesion__original_firstorder_Mean" in names
    (107, True)
    """
    return [prefix + name for part in part_names(profile) for name in part_features(part)]


def part_hashes(profile: Profile) -> dict[str, str]:
    """Part to the first 16 hex digits of the sha-256 of what its values depend on besides the pixels.

    That is: the settings that reach this part, the engine, the revision of this package's own computation, and the
    versions of the numerical libraries.

    Examples
    --------
    >>> from radiomics_crlm.features.profiles import load_profiles
    >>> before = load_profiles().profiles["ct-portal-venous"]
    >>> after = before.model_copy(update={"log_sigma_mm": (2.0, 3.0)})
    >>> changed = dict(part_hashes(after).items() - part_hashes(before).items())
    >>> sorted({name.split("_")[0] for name in changed})
    ['log-sigma-3-0-mm-3D']
    """
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    fixed = {"engine": engine(), "revision": _REVISION, "libraries": versions}
    images = image_names(profile)
    return {part: _digest({**fixed, **_depends(part, profile, images)}) for part in part_names(profile)}


def _depends(part: str, profile: Profile, images: Mapping[str, str]) -> dict[str, Any]:
    """Settings that the values of a part depend on."""
    settings = engine_settings(profile)
    grid = {"grid": profile.grid, "resample": settings.get("resampledPixelSpacing")}
    if grid["resample"] is not None:
        # The margin decides where the grid begins, which changes coordinates by rounding noise.
        grid["pad"] = profile.pad_voxels
    prepared = profile.model_dump(mode="json", include={"bias_correction", "reference_tissue", "normalize"})
    intensities = prepared | {
        "interpolator": profile.interpolator,
        "round": profile.modality == "CT" and profile.grid == "ibsi",
        "resegment": [settings.get("resegmentRange"), settings.get("resegmentMode")],
    }
    if part == SHAPE:
        # The engine crops the mask of the shape to the box of the re-segmented one.
        return {"part": part, **grid, **(intensities if settings.get("resegmentRange") is not None else {})}
    image, kind = part.rsplit("_", 1)
    own: dict[str, Any] = {"binning": [settings.get(n) for n in _BINNING], "bins_from": profile.bins_from}
    if kind == "firstorder":
        own["shift"] = profile.voxel_array_shift
    if kind != "firstorder" or images[image] in ("Wavelet", "LBP2D"):
        own["force_2d"] = profile.force_2d
    if images[image] == "Wavelet":
        own["wavelet"] = profile.wavelet
    return {"part": part, **grid, **intensities, **own}


def _digest(content: Mapping[str, Any]) -> str:
    """Hash of plain values."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def concluded(
    region: Region, parts: Mapping[str, Mapping[str, float]], profile: Profile, about: Iterable[str]
) -> RegionFeatures:
    """Status, reason and flags that follow from the parts; no missing or infinite value passes without a flag.

    Parameters
    ----------
    about
        Flags of the region itself, which come first.
    """
    flags, clean = list(about), {}
    lacking = sorted({p.rsplit("_", 1)[0] for p in part_names(profile) if p != SHAPE and not parts.get(p)})
    flags += [f"missing:{image}" for image in lacking]
    if SHAPE in profile.feature_classes and not parts.get(SHAPE):
        flags.append("shape_3d_undefined")
    for part in part_names(profile):
        values = parts.get(part, {})
        bad = [name for name, value in values.items() if not np.isfinite(value)]
        flags += [f"nan:{name}" for name in bad]
        clean[part] = {**values, **dict.fromkeys(bad, float("nan"))}
    flags += _levels(clean, profile)
    words = ";".join(flags)
    if all(np.isnan(value) for values in clean.values() for value in values.values()):
        return RegionFeatures(region, "failed", "no_values", words)
    return RegionFeatures(region, "ok", "", words, clean)


def _levels(parts: Mapping[str, Mapping[str, float]], profile: Profile) -> list[str]:
    """Flags of images with one grey level in the region: ``flat`` before binning, ``few_levels:IMAGE`` after it."""
    flat = parts.get("original_firstorder", {}).get("original_firstorder_Range") == 0
    flags = ["flat"] if flat else []
    for image in image_names(profile):
        kinds = [k for k in _ONE_LEVEL if f"{image}_{k}" in parts]
        told = [(parts[f"{image}_{k}"].get(f"{image}_{k}_{_ONE_LEVEL[k][0]}"), _ONE_LEVEL[k][1]) for k in kinds[:1]]
        if any(value == one for value, one in told) and not (flat and image == "original"):
            flags.append(f"few_levels:{image}")
    return flags


def assemble(found: Iterable[RegionFeatures], profile: Profile) -> pd.DataFrame:
    """Rows of ``features_lesion`` from the lesions among the regions found, in their order (no key of the scan)."""
    rows = [({"lesion": f.region.label}, f) for f in found if f.region.role == "lesion"]
    return _table(rows, "lesion", LESION_PREFIX, profile)


def assemble_regions(found: Iterable[RegionFeatures], profile: Profile) -> pd.DataFrame:
    """Rows of ``features_region`` from the organs among the regions found, in their order (no key of the scan)."""
    rows = [({"region": f.region.role}, f) for f in found if f.region.role != "lesion"]
    return _table(rows, "region", REGION_PREFIX, profile)


def _table(rows: list[tuple[dict[str, Any], RegionFeatures]], key: str, prefix: str, profile: Profile) -> pd.DataFrame:
    """One row per region: what it is, how it went, how it was made, and its features."""
    parts = {part: part_features(part) for part in part_names(profile)}
    values = np.full((len(rows), sum(map(len, parts.values()))), np.nan)
    for row, (_, found) in zip(values, rows, strict=True):
        row[:] = [found.parts.get(part, {}).get(name, np.nan) for part, names in parts.items() for name in names]
    head = [
        {
            **which,
            "status": found.status,
            "reason": found.reason,
            "flags": found.flags,
            "profile": profile.name,
            "settings_hash": settings_hash(profile, engine()),
            "engine": engine(),
        }
        for which, found in rows
    ]
    columns = [key, "status", "reason", "flags", "profile", "settings_hash", "engine"]
    features = pd.DataFrame(values, columns=feature_names(profile, prefix))
    return pd.concat([pd.DataFrame(head, columns=columns), features], axis=1)
