"""Noise, chains, names and seeds of perturbations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import pywt
from solids import IDENTITY, Scene

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.features import perturbation
from radiomics_crlm.features.contours import Displacement, Growth
from radiomics_crlm.features.motion import Rotation, Translation
from radiomics_crlm.features.perturbation import (
    DEFAULTS,
    Chain,
    Noise,
    generator_for,
    noise_sd,
    parse_perturbation,
    plan_perturbations,
)
from radiomics_crlm.imaging.geometry import Volume

SCENE = Scene((60.0, 60.0, 60.0), (1.0, 1.0, 2.0))


def scan(noise: float = 12.0, seed: int = 0, dtype: type = np.int16) -> tuple[Volume, Volume]:
    """A lesion of 60 HU in tissue of 110 HU, with a slope over the image and white noise."""
    lesion = SCENE.sphere(12.0)
    values = np.where(lesion, 60.0, 110.0) + 0.3 * SCENE.x
    values = values + noise * np.random.default_rng(seed).standard_normal(values.shape)
    array = np.rint(values).astype(dtype) if np.dtype(dtype).kind == "i" else values.astype(dtype)
    return SCENE.volume(array), SCENE.labels(lesion)


def test_the_wavelet_is_coif1() -> None:
    assert pywt.Wavelet("coif1").dec_hi == list(perturbation._COIF1_HIGH)


@pytest.mark.parametrize("sd", [5.0, 12.0, 40.0])
def test_noise_is_estimated_from_the_image(sd: float) -> None:
    image, mask = scan(sd)
    assert noise_sd(image, mask) == pytest.approx(sd, rel=0.04)


def test_an_image_without_noise_has_none() -> None:
    image, mask = scan(0.0, dtype=np.float64)
    assert noise_sd(image, mask) == pytest.approx(0.0, abs=1e-12)
    noisy, _ = Noise().apply(image, mask, np.random.default_rng(0))
    np.testing.assert_allclose(noisy.array, image.array, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_added_noise_doubles_the_variance(dtype: type) -> None:
    image, mask = scan(dtype=dtype)
    noisy, same = Noise().apply(image, mask, np.random.default_rng(1))
    assert same is mask
    assert noisy.array.dtype == dtype
    difference = noisy.array.astype(float) - image.array
    assert difference.std() == pytest.approx(12.0, rel=0.04)
    assert abs(difference.mean()) < 0.2
    assert noise_sd(noisy, mask) == pytest.approx(12.0 * np.sqrt(2), rel=0.05)


def test_noise_stays_within_the_type() -> None:
    image, mask = scan()
    top = replace(image, array=np.full_like(image.array, np.iinfo(np.int16).max))
    noisy, _ = Noise(50.0).apply(top, mask, np.random.default_rng(0))
    assert noisy.array.min() > 32000


def test_a_chain_does_one_after_the_other() -> None:
    image, mask = scan()
    first, second = Rotation(5.0), Growth(0.2)
    chained = Chain((first, second)).apply(image, mask, np.random.default_rng(3))
    stepwise = second.apply(*first.apply(image, mask, np.random.default_rng(0)), np.random.default_rng(3))
    for a, b in zip(chained, stepwise, strict=True):
        assert (a.array == b.array).all()


def test_nothing_is_the_scan_as_it_is() -> None:
    image, mask = scan()
    assert Chain(()).apply(image, mask, np.random.default_rng(0)) == (image, mask)
    assert Chain(()).name == "original"


def test_a_chain_stops_where_nothing_is_left() -> None:
    image, _ = scan()
    small = SCENE.labels(SCENE.sphere(2.0))
    _, left = Chain((Growth(-9.0, "mm"), Rotation(5.0))).apply(image, small, np.random.default_rng(0))
    assert not left.array.any()


@pytest.mark.parametrize("text", [*DEFAULTS, "translate:0.25/0/-0.5", "noise:7.5", "grow:2mm", "rotate:6+noise"])
def test_inputs_are_not_touched_and_the_seed_decides(text: str) -> None:
    image, mask = scan()
    before = image.array.copy(), mask.array.copy()
    wanted = parse_perturbation(text)
    once, again, other = (wanted.apply(image, mask, np.random.default_rng(s)) for s in (4, 4, 5))
    assert (image.array == before[0]).all()
    assert (mask.array == before[1]).all()
    for a, b in zip(once, again, strict=True):
        assert a.array.tobytes() == b.array.tobytes()
        assert a.array.shape == image.array.shape
    assert (once[0].array.dtype, once[1].array.dtype) == (image.array.dtype, mask.array.dtype)
    changed = any((a.array != b.array).any() for a, b in zip(once, (image, mask), strict=True))
    assert changed
    differs = any((a.array != b.array).any() for a, b in zip(once, other, strict=True))
    assert differs or not wanted.random


def test_names_are_how_perturbations_are_written() -> None:
    for text in (*DEFAULTS, "translate:0.25/0/-0.5", "noise:7.5", "grow:2mm", "grow:-0.5mm", "rotate:6+grow:0.1+noise"):
        assert parse_perturbation(text).name == text
    assert parse_perturbation(" rotate:6 + noise ").name == "rotate:6+noise"
    assert parse_perturbation("randomise:1mm") == Displacement(1.0)
    assert parse_perturbation("translate:0.5") == Translation(0.5, 0.5, 0.5)


def test_the_plan_repeats_what_is_random() -> None:
    names = [name for name, _ in plan_perturbations(["rotate:6", "noise", "grow:0.1+randomise:1mm"], 3)]
    chained = "grow:0.1+randomise:1mm"
    assert names == ["original", "rotate:6", "noise", "noise#2", "noise#3", chained, chained + "#2", chained + "#3"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "swirl:3",
        "rotate",
        "rotate:x",
        "rotate:6mm",
        "translate:1/2",
        "noise:",
        "noise:1mm",
        "grow",
        "randomise:1",
        "noise+",
    ],
)
def test_what_cannot_be_parsed(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be parsed; expected translate:FRACTION"):
        parse_perturbation(text)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("translate:0", "translation is out of range"),
        ("translate:1", "translation is out of range"),
        ("translate:nan", "translation is out of range"),
        ("rotate:0", "angle is out of range"),
        ("rotate:181", "angle is out of range"),
        ("rotate:nan", "angle is out of range"),
        ("noise:0", "noise is out of range"),
        ("noise:inf", "noise is out of range"),
        ("grow:0", "growth of a region is out of range"),
        ("grow:-1", "growth of a region is out of range"),
        ("grow:nan", "growth of a region is out of range"),
        ("grow:80mm", "growth of a region is out of range.*at most 50"),
        ("randomise:0mm", "displacement of an outline is out of range"),
        ("randomise:nanmm", "displacement of an outline is out of range"),
    ],
)
def test_what_is_out_of_range(text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        parse_perturbation(text)


@pytest.mark.parametrize(
    ("texts", "repeats", "match"), [(["noise"], 0, "repeats"), (["rotate:6", "rotate:6.0"], 1, "twice")]
)
def test_plans_that_are_refused(texts: list[str], repeats: int, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        plan_perturbations(texts, repeats)


def test_a_mask_without_lesions_is_refused() -> None:
    image, mask = scan()
    empty = replace(mask, array=np.zeros_like(mask.array))
    for text in ("noise", "rotate:6", "translate:0.25"):
        with pytest.raises(InputError, match="no lesion to perturb"):
            parse_perturbation(text).apply(image, empty, np.random.default_rng(0))


def test_generators_depend_on_seed_and_words_alone() -> None:
    def draw(seed: int, *words: str) -> float:
        return float(generator_for(seed, *words).random())

    assert draw(1, "P1", "noise") == draw(1, "P1", "noise")
    assert len({draw(1, "P1", "noise"), draw(2, "P1", "noise"), draw(1, "P2", "noise"), draw(1, "P1n", "oise")}) == 4


def test_direction_of_the_grid_does_not_matter_for_noise() -> None:
    image, mask = scan()
    flipped = tuple(replace(v, direction=tuple(-d for d in IDENTITY[:3]) + IDENTITY[3:]) for v in (image, mask))
    assert noise_sd(*flipped) == noise_sd(image, mask)
