"""Every filtered image against the generators of pyradiomics, bit by bit."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import scipy.special
import SimpleITK as sitk
from radiomics import imageoperations

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.features import filters
from radiomics_crlm.features.filters import check_available, filtered_images

Box = tuple[slice, slice, slice]
TYPES = ("int16", "float32", "float64")
SHAPES = [(16, 20, 24), (15, 21, 27), (17, 20, 13)]
SIMPLE = ("Original", "Square", "SquareRoot", "Logarithm", "Exponential", "Gradient")


def ct(shape: tuple[int, ...] = (15, 21, 26), dtype: str = "int16", seed: int = 0) -> sitk.Image:
    """Noise of CT, negative and positive, on anisotropic voxels."""
    rng = np.random.default_rng([seed, *shape])
    image = sitk.GetImageFromArray((rng.normal(60, 45, shape) + 30 * np.sin(np.arange(shape[2]))).astype(dtype))
    image.SetSpacing((0.78125, 0.78125, 2.5))
    image.SetOrigin((-100.0, 20.0, 7.0))
    return image


def region(image: sitk.Image, label: int = 1) -> tuple[sitk.Image, Box]:
    """An ellipsoid somewhere inside, touching the upper border in x, and its box."""
    shape = image.GetSize()[::-1]
    centre = [n * c for n, c in zip(shape, (0.5, 0.45, 0.8), strict=True)]
    z, y, x = ((g - c) / (0.25 * n) for g, c, n in zip(np.indices(shape, dtype=float), centre, shape, strict=True))
    inside = z**2 + y**2 + x**2 <= 1
    mask = sitk.GetImageFromArray(inside.astype(np.uint8) * label)
    mask.CopyInformation(image)
    where = np.argwhere(inside)
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(where.min(axis=0), where.max(axis=0), strict=True))
    return mask, box  # type: ignore[return-value]


def engine(
    image: sitk.Image, mask: sitk.Image, types: Mapping[str, Mapping[str, Any]], **settings: Any
) -> list[tuple[str, np.ndarray]]:
    """The images as ``RadiomicsFeatureExtractor.execute`` makes them."""
    made = []
    with warnings.catch_warnings(), filters._spherical_harmonics():
        warnings.simplefilter("ignore")
        for kind, own in types.items():
            generator = getattr(imageoperations, f"get{kind}Image")
            for filtered, name, _ in generator(image, mask, **{**settings, **own}):
                made.append((name, sitk.GetArrayFromImage(filtered)))
    return made


def assert_same(
    found: list[tuple[str, np.ndarray]], expected: list[tuple[str, np.ndarray]], box: Box | None = None
) -> None:
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (name, ours), (_, theirs) in zip(found, expected, strict=True):
        wanted = theirs if box is None else theirs[box]
        assert ours.dtype == wanted.dtype, name
        np.testing.assert_array_equal(ours, wanted, err_msg=name, strict=True)


@pytest.mark.parametrize(("dtype", "shape"), list(itertools.product(TYPES, SHAPES)))
def test_all_images_have_the_voxels_of_the_engine(dtype: str, shape: tuple[int, int, int]) -> None:
    image = ct(shape, dtype)
    mask, box = region(image)
    types = {name: {} for name in SIMPLE} | {"LoG": {"sigma": [1.0, 2.0, 3.5]}, "Wavelet": {}, "LBP2D": {}}
    expected = engine(image, mask, types)
    assert_same(list(filtered_images(image, mask, types, {}, box=box)), expected, box)
    assert_same(list(filtered_images(image, mask, types, {})), expected)
    assert [name for name, _ in expected][6:10] == [
        "log-sigma-1-0-mm-3D",
        "log-sigma-2-0-mm-3D",
        "log-sigma-3-5-mm-3D",
        "wavelet-LLH",
    ]


@pytest.mark.parametrize("wavelet", ["coif1", "haar", "db2", "sym2", "bior2.2", "coif2"])
@pytest.mark.parametrize("dtype", [*TYPES, "uint8", "int32"])
def test_wavelets_have_the_voxels_of_the_engine(wavelet: str, dtype: str) -> None:
    image = ct((13, 16, 19), dtype, seed=2)
    mask, _ = region(image)
    types = {"Wavelet": {"wavelet": wavelet}}
    expected = engine(image, mask, types)
    # boxes at each border, where the image is repeated and PyWavelets adds in another order
    for box in itertools.product(
        (slice(0, 2), slice(5, 8), slice(11, 13)), (slice(13, 16),), (slice(0, 1), slice(14, 19))
    ):
        assert_same(list(filtered_images(image, mask, types, {}, box=box)), expected, box)


@pytest.mark.parametrize("dimension", [0, 1, 2])
def test_wavelets_within_slices_have_the_voxels_of_the_engine(dimension: int) -> None:
    image = ct()
    mask, box = region(image)
    flat = {"force2D": True, "force2Ddimension": dimension}
    expected = engine(image, mask, {"Wavelet": {}}, **flat)
    assert [name for name, _ in expected] == ["wavelet-LH", "wavelet-HL", "wavelet-HH", "wavelet-LL"]
    assert_same(list(filtered_images(image, mask, {"Wavelet": {}}, flat, box=box)), expected, box)


@pytest.mark.parametrize(
    ("shape", "own"),
    [
        ((16, 20, 24), {"level": 2}),
        ((16, 20, 24), {"start_level": 1}),
        ((4, 20, 24), {}),
        ((3, 5, 24), {"wavelet": "db3"}),
    ],
    ids=["two levels", "a higher level", "few slices", "fewer voxels than taps"],
)
def test_unusual_wavelets_are_left_to_the_engine(shape: tuple[int, int, int], own: dict[str, Any]) -> None:
    image = ct(shape)
    mask, box = region(image)
    expected = engine(image, mask, {"Wavelet": own})
    assert_same(list(filtered_images(image, mask, {"Wavelet": own}, {}, box=box)), expected, box)


@pytest.mark.parametrize("sigmas", [[2], [0.5, 1, 4.4], [3.0, 0.0, -1.0, 1.5], [30.0], []], ids=str)
@pytest.mark.parametrize("dtype", TYPES)
def test_laplacians_have_the_voxels_of_the_engine(sigmas: list[float], dtype: str) -> None:
    image = ct((9, 21, 26), dtype, seed=3)
    mask, box = region(image)
    expected = engine(image, mask, {"LoG": {"sigma": sigmas}})
    assert_same(list(filtered_images(image, mask, {"LoG": {"sigma": sigmas}}, {}, box=box)), expected, box)


def test_images_too_small_for_a_laplacian_are_left_out() -> None:
    thin, short = ct((3, 20, 20)), ct((4, 20, 20))
    types = {"LoG": {"sigma": [1.0, 2.5]}}
    for image, names in ((thin, []), (short, ["log-sigma-1-0-mm-3D", "log-sigma-2-5-mm-3D"])):
        mask, box = region(image)
        found = list(filtered_images(image, mask, types, {}, box=box))
        assert [name for name, _ in found] == names
        assert_same(found, engine(image, mask, types), box)


def test_laplacians_do_not_depend_on_the_number_of_threads() -> None:
    image = ct((30, 40, 50))
    mask, _ = region(image)
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        results = []
        for count in (1, 2, 5):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
            results.append(engine(image, mask, {"LoG": {"sigma": [2.0]}}))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])


@pytest.mark.parametrize("dtype", TYPES)
def test_after_the_resampling_of_the_engine_the_voxels_are_the_same(dtype: str) -> None:
    image = ct((12, 40, 44), dtype, seed=4)
    mask, _ = region(image)
    settings = {"resampledPixelSpacing": [1.0, 1.0, 1.0], "interpolator": "sitkBSpline", "padDistance": 5, "label": 1}
    image, mask = imageoperations.resampleImage(image, mask, **settings)
    found, _ = imageoperations.checkMask(image, mask, **settings)
    box = tuple(slice(int(found[2 * a]), int(found[2 * a + 1]) + 1) for a in (2, 1, 0))
    types = {name: {} for name in SIMPLE} | {"LoG": {"sigma": [1.0, 2.0, 3.0]}, "Wavelet": {"wavelet": "coif1"}}
    made = list(filtered_images(image, mask, types, settings, box=box))  # type: ignore[arg-type]
    assert_same(made, engine(image, mask, types, **settings), box)  # type: ignore[arg-type]


@pytest.mark.parametrize("use_spacing", [True, False])
def test_gradients_at_the_border_have_the_voxels_of_the_engine(use_spacing: bool) -> None:
    image = ct((5, 8, 9))
    mask, _ = region(image)
    settings = {"gradientUseSpacing": use_spacing}
    expected = engine(image, mask, {"Gradient": {}}, **settings)
    for box in itertools.product((slice(0, 1), slice(2, 5)), (slice(0, 8), slice(7, 8)), (slice(0, 3), slice(4, 9))):
        assert_same(list(filtered_images(image, mask, {"Gradient": settings}, {}, box=box)), expected, box)


@pytest.mark.parametrize("values", [0, 1, -7], ids=["zero", "one", "minus seven"])
def test_constant_images_give_what_the_engine_gives(values: int) -> None:
    image = sitk.GetImageFromArray(np.full((8, 9, 10), values, dtype=np.int16))
    mask, box = region(image)
    types = {name: {} for name in SIMPLE} | {"LoG": {"sigma": [1.0]}, "Wavelet": {}}
    assert_same(list(filtered_images(image, mask, types, {}, box=box)), engine(image, mask, types), box)


def test_the_largest_grey_level_may_lie_outside_the_box() -> None:
    image = ct((10, 12, 14), "float64")
    image[13, 0, 0] = -5000.25
    mask, box = region(image)
    types: dict[str, dict[str, Any]] = {name: {} for name in SIMPLE}
    assert_same(list(filtered_images(image, mask, types, {}, box=box)), engine(image, mask, types), box)


@pytest.mark.parametrize("dimension", [0, 1, 2])
@pytest.mark.parametrize(
    "own", [{}, {"lbp2DRadius": 2.5, "lbp2DSamples": 11, "lbp2DMethod": "ror"}], ids=["usual", "own"]
)
def test_patterns_within_slices_have_the_voxels_of_the_engine(dimension: int, own: dict[str, Any]) -> None:
    image = ct((11, 13, 16))
    mask, box = region(image)
    flat = {"force2D": True, "force2Ddimension": dimension}
    expected = engine(image, mask, {"LBP2D": own}, **flat)
    assert_same(list(filtered_images(image, mask, {"LBP2D": own}, flat, box=box)), expected, box)


@pytest.mark.parametrize("portion", [7, 60, 100_000])
@pytest.mark.parametrize("dtype", ["int16", "float64"])
def test_patterns_on_spheres_have_the_voxels_of_the_engine_in_portions(
    dtype: str, portion: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ct((12, 14, 16), dtype)
    mask, box = region(image, label=3)
    types = {"LBP3D": {"lbp3DLevels": 3}}
    expected = engine(image, mask, types, label=3)
    monkeypatch.setattr(filters, "_PATTERN_VOXELS", portion)
    found = list(filtered_images(image, mask, types, {"label": 3}, box=box))
    inside = sitk.GetArrayFromImage(mask)[box] == 3
    assert [name for name, _ in found] == ["lbp-3D-m1", "lbp-3D-m2", "lbp-3D-m3", "lbp-3D-k"]
    assert_same([(n, v[inside]) for n, v in found], [(n, v[box][inside]) for n, v in expected])
    assert all(not values[~inside].any() for _, values in found)


def test_the_spherical_harmonics_given_to_the_engine_are_those_of_the_textbook() -> None:
    azimuth, polar = np.linspace(0, 6, 7)[:, None], np.linspace(0.1, 3, 5)[None]
    before = hasattr(scipy.special, "sph_harm")
    with warnings.catch_warnings(), filters._spherical_harmonics():
        warnings.simplefilter("ignore", DeprecationWarning)  # SciPy 1.15 and 1.16 still have it
        found = {(m, n): scipy.special.sph_harm(m, n, azimuth, polar) for m, n in [(0, 0), (0, 1), (1, 1), (-1, 1)]}
    assert hasattr(scipy.special, "sph_harm") == before
    wave, size = np.exp(1j * azimuth) * np.sin(polar), np.sqrt(3 / (8 * np.pi))
    np.testing.assert_allclose(found[0, 0], np.full((7, 5), 0.5 / np.sqrt(np.pi)), rtol=1e-14)
    np.testing.assert_allclose(found[0, 1], np.tile(np.sqrt(3 / (4 * np.pi)) * np.cos(polar), (7, 1)), rtol=1e-13)
    np.testing.assert_allclose(found[1, 1], -size * wave, rtol=1e-13)
    np.testing.assert_allclose(found[-1, 1], size * wave.conj(), rtol=1e-13)


@pytest.mark.parametrize(
    "wanted",
    [
        {"original"},
        {"wavelet-HLH", "wavelet-LLL"},
        {"log-sigma-2-0-mm-3D"},
        {"gradient", "square"},
        {"lbp-3D-k"},
        set(),
    ],
    ids=lambda w: "+".join(sorted(w)) or "nothing",
)
def test_only_wanted_images_are_made(wanted: set[str]) -> None:
    image = ct((12, 14, 16))
    mask, box = region(image)
    types: dict[str, dict[str, Any]] = {name: {} for name in (*SIMPLE, "Wavelet", "LBP2D", "LBP3D")}
    types["LoG"] = {"sigma": [1.0, 2.0]}
    everything = dict(filtered_images(image, mask, types, {"label": 1}, box=box))
    some = dict(filtered_images(image, mask, types, {"label": 1}, box=box, wanted=wanted))
    assert set(some) == wanted
    assert_same(list(some.items()), [(n, v) for n, v in everything.items() if n in wanted])


def test_without_exact_arithmetic_the_engine_makes_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    image = ct()
    mask, box = region(image)
    types = {"LoG": {"sigma": [1.0, 2.0]}, "Wavelet": {}}
    ours = list(filtered_images(image, mask, types, {}, box=box))
    monkeypatch.setattr(filters, "same_as_itk", lambda: False)
    monkeypatch.setattr(filters, "same_as_pywt", lambda: False)
    assert_same(list(filtered_images(image, mask, types, {}, box=box)), ours)
    some = list(filtered_images(image, mask, types, {}, box=box, wanted={"wavelet-HHH", "log-sigma-1-0-mm-3D"}))
    assert_same(some, [ours[0], ours[8]])


def test_images_are_made_one_at_a_time_and_belong_to_the_caller() -> None:
    image = ct((10, 12, 14))
    mask, box = region(image)
    types: dict[str, dict[str, Any]] = {name: {} for name in (*SIMPLE, "Wavelet")}
    expected = dict(filtered_images(image, mask, types, {}, box=box))
    for name, values in filtered_images(image, mask, types, {}, box=box):
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
        values[...] = 0
        with pytest.warns(UserWarning, match="of the caller"):
            warnings.warn("of the caller", stacklevel=1)


@pytest.mark.parametrize(("kind", "package"), [("LBP2D", "skimage"), ("LBP3D", "trimesh")])
def test_patterns_without_their_package_name_the_extra(
    kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters.importlib.util, "find_spec", lambda name: None if name == package else object())
    check_available(["Original", "Wavelet"])
    with pytest.raises(ConfigError, match=rf"{kind} needs a package.*expected {package}.*extra lbp"):
        check_available(["Original", kind])
    image = ct((5, 6, 7))
    with pytest.raises(ConfigError, match="extra lbp"):
        next(filtered_images(image, region(image)[0], {"Original": {}, kind: {}}, {}))


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown image type; expected Original, LoG, .*; got Laplacian"):
        check_available(["Laplacian"])


@pytest.mark.parametrize(
    ("other", "box", "message"),
    [
        ((5, 6, 8), None, r"do not fit; expected three dimensions of equal size; got \(7, 6, 5\) and \(8, 6, 5\)"),
        ((5, 6, 7), (slice(0, 5), slice(2, 2), slice(0, 7)), "box is empty or leaves the image"),
        ((5, 6, 7), (slice(0, 5), slice(2, 3), slice(0, 8)), "box is empty or leaves the image"),
        ((5, 6, 7), (slice(-1, 5), slice(2, 3), slice(0, 7)), "box is empty or leaves the image"),
    ],
)
def test_what_does_not_fit_is_refused(other: tuple[int, ...], box: Box | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        next(filtered_images(ct((5, 6, 7)), ct(other), {"Original": {}}, {}, box=box))
