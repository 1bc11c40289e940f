"""One extraction per line of input, by the interpreter of a peer (see peers.py).

    python peer_worker.py PEER IMAGE MASK original|full

Settings: 1 mm grid, cubic or B-spline interpolation, bin width 25; ``full`` adds eight coif1 sub-bands and LoG 1, 2,
3 mm. Each line of input is one call from files to feature values; a line of JSON answers with its seconds, the values
where the names are those of pyradiomics, and the peak memory in bytes. Imports are not timed.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

BANDS = ["".join(band) for band in itertools.product("LH", repeat=3)]
SIGMAS = (1.0, 2.0, 3.0)
CLASSES = ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
Values = dict[str, float] | None


def parameters(full: bool) -> dict[str, dict[str, object]]:
    """Settings in the words of pyradiomics."""
    types: dict[str, object] = {"Original": {}}
    if full:
        types |= {"Wavelet": {"wavelet": "coif1"}, "LoG": {"sigma": list(SIGMAS)}}
    return {
        "setting": {"binWidth": 25, "resampledPixelSpacing": [1, 1, 1], "interpolator": "sitkBSpline"},
        "imageType": types,
    }


def numbers(raw: dict[str, object]) -> dict[str, float]:
    """Features without the diagnostics."""
    return {k: complex(v).real for k, v in raw.items() if not k.startswith("diagnostics")}


def pyradiomics(image: str, mask: str, full: bool) -> Callable[[], Values]:
    """A fork of pyradiomics under its name."""
    import radiomics
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    radiomics.setVerbosity(60)
    extractor = RadiomicsFeatureExtractor(parameters(full) | {"featureClass": dict.fromkeys(CLASSES)})
    return lambda: numbers(extractor.execute(image, mask, label=1))


def flash(image: str, mask: str, full: bool) -> Callable[[], Values]:
    """flash-radiomics; it always writes an HDF5 file."""
    from flash_radiomics import RadiomicsFeatureExtractor

    extractor = RadiomicsFeatureExtractor(
        parameters(full) | {"scalarFeatureClass": {name: [] for name in CLASSES}, "spatialFeatureClass": None},
        backend="cpu",
    )
    folder = tempfile.mkdtemp()
    count = itertools.count()

    def run() -> Values:
        path = str(Path(folder) / f"{next(count)}.h5")
        return numbers(extractor.execute(image, mask, label=1, output_hdf5_path=path))

    return run


def pictologics(image: str, mask: str, full: bool) -> Callable[[], Values]:
    """pictologics: features of the IBSI."""
    from pictologics import RadiomicsPipeline

    def steps(chosen: dict[str, object] | None) -> list[dict[str, object]]:
        filtered = [] if chosen is None else [{"step": "filter", "params": chosen}]
        return [
            {"step": "resample", "params": {"new_spacing": (1.0, 1.0, 1.0), "interpolation": "cubic"}},
            *filtered,
            {"step": "discretise", "params": {"method": "FBS", "bin_width": 25.0, "min_val": -1000.0}},
            {"step": "extract_features", "params": {"families": ["intensity", "morphology", "texture", "histogram"]}},
        ]

    filters: dict[str, dict[str, object] | None] = {"original": None}
    if full:
        filters |= {f"log{sigma}": {"type": "log", "sigma_mm": sigma} for sigma in SIGMAS}
        filters |= {b: {"type": "wavelet", "wavelet": "coif1", "level": 1, "decomposition": b} for b in BANDS}
    pipeline = RadiomicsPipeline()
    for name, chosen in filters.items():
        pipeline.add_config(name, steps(chosen))

    def run() -> Values:
        pipeline.run(image=image, mask=mask, config_names=list(filters))
        return None

    return run


def mirp(image: str, mask: str, full: bool) -> Callable[[], Values]:
    """MIRP: features of the IBSI."""
    from mirp import extract_features

    filters: dict[str, object] = {}
    if full:
        filters = {
            "filter_kernels": ["laplacian_of_gaussian", "separable_wavelet"],
            "laplacian_of_gaussian_sigma": list(SIGMAS),
            "separable_wavelet_families": "coif1",
            "separable_wavelet_set": "all",
            "separable_wavelet_rotation_invariance": False,
            "response_map_feature_families": "all",
            "response_map_discretisation_method": "fixed_bin_number",
            "response_map_discretisation_n_bins": 32,
        }

    def run() -> Values:
        extract_features(
            image=image, mask=mask, new_spacing=1.0, base_discretisation_method="fixed_bin_size",
            base_discretisation_bin_width=25.0, image_modality="ct", **filters,
        )  # fmt: skip
        return None

    return run


def zrad(image: str, mask: str, full: bool) -> Callable[[], Values]:
    """Z-Rad: features of the IBSI."""
    from zrad.filtering import LoG, Wavelets3D
    from zrad.image import Image
    from zrad.preprocessing import (
        ImageResampler,
        IntensityMaskBuilder,
        MaskResampler,
        Pipeline,
        RoiData,
        TextureDiscretizer,
    )
    from zrad.radiomics import Radiomics

    resample = [("image", ImageResampler(1.0, "bspline")), ("mask", MaskResampler(1.0))]
    prepare = [("intensity", IntensityMaskBuilder()), ("levels", TextureDiscretizer(number_of_bins=32))]
    filters: list[object] = [None]
    if full:
        filters += [LoG("reflect", sigma, 4, "3D") for sigma in SIGMAS]
        filters += [Wavelets3D("coif1", "reflect", band, 1) for band in BANDS]

    def run() -> Values:
        scan = Image.from_nifti(image)
        roi = Pipeline(resample).apply(RoiData(scan, morphological_mask=Image.from_nifti_mask(mask, reference=scan)))
        for chosen in filters:
            filtered = [] if chosen is None else [("filter", chosen)]
            Radiomics().extract_features(roi_data=Pipeline([*filtered, *prepare]).apply(roi))
        return None

    return run


SIDES = {
    "pyradiomics-cuda": pyradiomics,
    "flash-radiomics": flash,
    "pictologics": pictologics,
    "mirp": mirp,
    "z-rad": zrad,
}


def peak() -> int | None:
    """Peak memory of this process, where the system tells."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def main() -> None:
    """Answer each line of input."""
    peer, image, mask, extent = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    run = SIDES[peer](image, mask, extent == "full")
    for _ in sys.stdin:
        start = time.perf_counter()
        values = run()
        taken = time.perf_counter() - start
        print("\n" + json.dumps({"seconds": taken, "values": values, "peak": peak()}), flush=True)


if __name__ == "__main__":
    main()
