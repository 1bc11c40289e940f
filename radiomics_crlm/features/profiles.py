"""Named extraction profiles: every setting that changes a feature value, checked before the first case."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from radiomics_crlm.config import Strict, load_config
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.resources import resource

FeatureClass = Literal["firstorder", "shape", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]
ProfileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
ScanKind = Annotated[str, StringConstraints(pattern=r"^(CT|MR)/([a-z0-9_]+|\*)$")]
Positive = Annotated[float, Field(gt=0, le=1000)]

_WHY_NORMALISE = (
    "an MR profile needs `normalize`: MR intensities have no unit and change with scanner, coil and sequence, so a "
    "fixed bin width would mean something else in every scan; add e.g. `normalize: {scale: 100, remove_outliers: 3}`, "
    "or `reference_tissue: spleen` where masks show one"
)


# Image types without settings: name of the switch here and in pyradiomics.
_SWITCHES = {
    "square": "Square",
    "square_root": "SquareRoot",
    "logarithm": "Logarithm",
    "exponential": "Exponential",
    "gradient": "Gradient",
    "lbp_2d": "LBP2D",
    "lbp_3d": "LBP3D",
}
# Settings that came later: they enter the hash only where they differ from the default, so that features of before
# they existed stay comparable.
_LATER = (
    "bias_correction",
    "reference_tissue",
    "resegment_sigma",
    "bins_from",
    *_SWITCHES,
    "force_2d",
    "grid",
)


class Normalize(Strict):
    """Image intensities become ``scale * (value - mean) / standard deviation`` of the whole image.

    ``remove_outliers`` clips at that many standard deviations (null: no clipping).
    """

    scale: Positive
    remove_outliers: Positive | None = None


class BiasCorrection(Strict):
    """N4 before anything else: the field is estimated on every ``shrink``-th voxel, with at most so many iterations."""

    shrink: int = Field(default=4, ge=1, le=16)
    iterations: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(default=(50, 50, 50), min_length=1)


class Profile(Strict):
    """How features are extracted from one kind of scan. Values are handed to pyradiomics under its own names.

    ``resample_mm`` is the new spacing in x, y, z (null: native grid); ``pad_voxels`` the margin kept around a lesion
    after resampling, which the filters see; ``log_sigma_mm`` and ``wavelet`` add filtered images to the original one;
    ``min_voxels`` counts voxels of the native grid. For MR, ``bias_correction`` evens out the coil and
    ``reference_tissue`` scales the median of a masked tissue to 100. ``regions`` adds the whole liver (lesions
    included), the future remnant (without tumour) and the ``ring`` (liver within 10 mm of any lesion, without vessels)
    where masks show them. ``square`` to ``lbp_3d`` add the other
    filtered images that pyradiomics offers. ``force_2d`` computes texture matrices and wavelets within slices.

    ``resegment_range`` (grey levels) or ``resegment_sigma`` (standard deviations around the mean of the region) drop
    outlying voxels before all classes but shape. ``grid: ibsi`` resamples as the Image Biomarker Standardisation
    Initiative defines it (grid centred on the image, mask cut at one half, HU rounded), and ``bins_from:
    resegment_range`` begins the bins at the lower end of that range, as it does, too.
    """

    name: ProfileName
    description: str
    modality: Literal["CT", "MR"]
    resample_mm: tuple[Positive, Positive, Positive] | None
    interpolator: Literal["sitkBSpline", "sitkLinear", "sitkNearestNeighbor"] | None = None
    pad_voxels: int = Field(default=5, ge=1, le=100)
    bias_correction: BiasCorrection | None = None
    reference_tissue: Literal["liver", "spleen", "muscle"] | None = None
    normalize: Normalize | None = None
    bin_width: Positive | None = None
    bin_count: int | None = Field(default=None, ge=2, le=1024)
    resegment_range: tuple[float, float] | None = None
    resegment_sigma: Positive | None = None
    bins_from: Literal["region_minimum", "resegment_range"] = "region_minimum"
    voxel_array_shift: int = Field(default=0, description="added before squaring in Energy, TotalEnergy and RMS")
    original: bool = True
    log_sigma_mm: tuple[Positive, ...] | None = None
    wavelet: Literal["coif1", "haar", "db2", "sym2"] | None = None
    square: bool = False
    square_root: bool = False
    logarithm: bool = False
    exponential: bool = False
    gradient: bool = False
    lbp_2d: bool = False
    lbp_3d: bool = False
    force_2d: bool = False
    grid: Literal["pyradiomics", "ibsi"] = "pyradiomics"
    regions: tuple[Literal["lesion", "liver", "remnant", "ring"], ...] = Field(default=("lesion",), min_length=1)
    feature_classes: tuple[FeatureClass, ...] = Field(min_length=1)
    min_voxels: int = Field(default=10, ge=2)

    @model_validator(mode="after")
    def _no_contradiction(self) -> Profile:
        faults = [text for text, wrong in self._rules() if wrong]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _rules(self) -> list[tuple[str, bool]]:
        """Rule in words, and whether it is broken."""
        low, high = self.resegment_range or (0.0, 1.0)
        shape_only = set(self.feature_classes) == {"shape"}
        return [
            (_WHY_NORMALISE, self.modality == "MR" and self.normalize is None and self.reference_tissue is None),
            ("a CT profile must not normalize: HU are absolute", self.modality == "CT" and self.normalize is not None),
            (
                "bias_correction and reference_tissue are for MR: HU are absolute",
                self.modality == "CT" and self.prepared,
            ),
            (
                "give either normalize or reference_tissue: normalize would undo the reference",
                self.normalize is not None and self.reference_tissue is not None,
            ),
            ("give either bin_width or bin_count", (self.bin_width is None) == (self.bin_count is None)),
            ("resampling needs an interpolator", self.resample_mm is not None and self.interpolator is None),
            ("an interpolator needs resample_mm", self.resample_mm is None and self.interpolator is not None),
            ("log_sigma_mm is given but empty: LoG needs at least one sigma", self.log_sigma_mm == ()),
            ("log_sigma_mm names a sigma twice", len(set(self.log_sigma_mm or ())) != len(self.log_sigma_mm or ())),
            ("feature_classes names a class twice", len(set(self.feature_classes)) != len(self.feature_classes)),
            ("no image to extract from: original is off and no filter is on", not (self.original or self.filtered)),
            ("shape is computed on the original mask alone: filters are useless", shape_only and self.filtered),
            ("resegment_range must be ascending", low >= high),
            (
                "give either resegment_range or resegment_sigma",
                self.resegment_range is not None and self.resegment_sigma is not None,
            ),
            ("regions must name lesion, and nothing twice", not _distinct_with("lesion", self.regions)),
            ("grid: ibsi needs resample_mm", self.grid == "ibsi" and self.resample_mm is None),
            *self._bin_rules(),
        ]

    def _bin_rules(self) -> list[tuple[str, bool]]:
        """The rules of ``bins_from``."""
        fixed = self.bins_from == "resegment_range"
        return [
            ("bins_from: resegment_range needs resegment_range", fixed and self.resegment_range is None),
            ("bins_from: resegment_range needs bin_width", fixed and self.bin_width is None),
            ("bins_from: resegment_range has no meaning in filtered images", fixed and self.filtered),
        ]

    @property
    def filtered(self) -> bool:
        """Whether any filter is applied."""
        return bool(self.log_sigma_mm) or self.wavelet is not None or any(getattr(self, n) for n in _SWITCHES)

    @property
    def prepared(self) -> bool:
        """Whether intensities are changed before the engine sees them."""
        return self.bias_correction is not None or self.reference_tissue is not None


class ExtractConfig(Strict):
    """Profiles by name, and which of them extracts which scan (``MODALITY/sequence``; ``MODALITY/*`` for the rest)."""

    profiles: dict[ProfileName, Profile]
    scans: dict[ScanKind, ProfileName]

    @model_validator(mode="before")
    @classmethod
    def _names_from_keys(cls, content: Any) -> Any:
        """Let the key of a profile be its name."""
        if isinstance(content, Mapping) and isinstance(content.get("profiles"), Mapping):
            named = {
                key: {"name": key, **body} if isinstance(body, Mapping) else body
                for key, body in content["profiles"].items()
            }
            return {**content, "profiles": named}
        return content

    @model_validator(mode="after")
    def _scans_fit(self) -> ExtractConfig:
        for kind, name in self.scans.items():
            if name not in self.profiles:
                raise ValueError(f"scans: {kind} names the profile {name!r}, which does not exist")
            if self.profiles[name].modality != kind.split("/")[0]:
                raise ValueError(f"scans: {kind} cannot use {name!r}, a profile for {self.profiles[name].modality}")
        return self

    def for_scans(self, override: Mapping[str, str] | None = None) -> dict[str, Profile]:
        """Profile of each kind of scan, e.g. ``{"CT/portal_venous": ...}``.

        Parameters
        ----------
        override
            Kind of scan to profile name, replacing or adding to ``scans``.

        Raises
        ------
        ConfigError
            If a name does not exist or the modality does not fit.
        """
        chosen = {**self.scans, **(override or {})}
        for kind, name in chosen.items():
            if name not in self.profiles or self.profiles[name].modality != kind.split("/")[0]:
                have = ", ".join(sorted(self.profiles))
                raise ConfigError("no such profile for this kind of scan", where=kind, expected=have, got=name)
        return {kind: self.profiles[name] for kind, name in chosen.items()}


def load_profiles(path: Path | None = None) -> ExtractConfig:
    """Read the profiles of a file, or those that the package ships (``configs/extract.yaml``).

    Raises
    ------
    ConfigError
        Naming each unknown key, unknown feature class and contradiction.
    """
    return load_config(ExtractConfig, resource("configs/extract.yaml") if path is None else path)


def _distinct_with(name: str, names: tuple[str, ...]) -> bool:
    """Whether no name comes twice and ``name`` is among them."""
    return name in names and len(set(names)) == len(names)


def profile_for(profiles: Mapping[str, Profile], modality: str, sequence: str) -> Profile | None:
    """Profile of a scan: exact kind first, then ``MODALITY/*``."""
    return profiles.get(f"{modality}/{sequence}") or profiles.get(f"{modality}/*")


def settings_hash(profile: Profile, engine: str) -> str:
    """First 16 hex digits of the sha-256 of all settings and the engine: equal hashes mean comparable features.

    Name, description and regions do not enter, because they do not change a value; nor does a later setting that is at
    its default, so that features of before it existed stay comparable.
    """
    off = {name for name in _LATER if getattr(profile, name) == Profile.model_fields[name].default}
    content = profile.model_dump(mode="json", exclude={"name", "description", "regions", *off})
    text = json.dumps({"settings": content, "engine": engine}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def engine_settings(profile: Profile) -> dict[str, Any]:
    """The settings of a profile under the names that pyradiomics gives them."""
    setting: dict[str, Any] = {
        "additionalInfo": False,
        "padDistance": profile.pad_voxels,
        "voxelArrayShift": profile.voxel_array_shift,
    }
    if profile.bin_width is not None:
        setting["binWidth"] = profile.bin_width
    if profile.bin_count is not None:
        setting["binCount"] = profile.bin_count
    if profile.resample_mm is not None:
        setting |= {"resampledPixelSpacing": list(profile.resample_mm), "interpolator": profile.interpolator}
    if profile.normalize is not None:
        setting |= {"normalize": True, "normalizeScale": profile.normalize.scale}
        if profile.normalize.remove_outliers is not None:
            setting["removeOutliers"] = profile.normalize.remove_outliers
    if profile.resegment_range is not None:
        setting |= {"resegmentRange": list(profile.resegment_range), "resegmentMode": "absolute"}
    if profile.resegment_sigma is not None:
        sigma = profile.resegment_sigma
        setting |= {"resegmentRange": [-sigma, sigma], "resegmentMode": "sigma"}
    if profile.force_2d:
        setting["force2D"] = True
    return setting


def engine_image_types(profile: Profile) -> dict[str, dict[str, Any]]:
    """The image types of a profile and their own settings, under the names that pyradiomics gives them."""
    images: dict[str, dict[str, Any]] = {}
    if profile.original:
        images["Original"] = {}
    if profile.log_sigma_mm:
        images["LoG"] = {"sigma": list(profile.log_sigma_mm)}
    if profile.wavelet:
        images["Wavelet"] = {"wavelet": profile.wavelet}
    return images | {name: {} for switch, name in _SWITCHES.items() if getattr(profile, switch)}
