"""Grey values: the latent texture can be measured in the lesions and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from radiomics_crlm.phantom.anatomy import Anatomy, draw_anatomy
from radiomics_crlm.phantom.images import correlated_noise, render_ct, render_mr
from radiomics_crlm.phantom.lesions import place_lesions, render_lesions
from radiomics_crlm.phantom.patients import Disease


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return draw_anatomy(np.random.default_rng(3), remnant_pct=40.0, remnant_left=True)


def lesion(anatomy: Anatomy, diameter: float) -> tuple[np.ndarray, np.ndarray]:
    disease = Disease((diameter,), resectable=True, sflr_pct=40.0, remnant_left=True)
    return render_lesions(anatomy, list(place_lesions(np.random.default_rng(8), anatomy, disease)))


def ct(anatomy: Anatomy, masks: tuple[np.ndarray, np.ndarray], texture: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return render_ct(rng, anatomy, *masks, texture=texture, steatosis=False, noise_hu=11.0)


@pytest.mark.parametrize("diameter", [12.0, 30.0])
def test_texture_is_measurable_in_lesions_of_any_size(anatomy: Anatomy, diameter: float) -> None:
    masks = lesion(anatomy, diameter)
    texture = np.random.default_rng(1).standard_normal(40)
    images = [ct(anatomy, masks, z, seed) for seed, z in enumerate(texture)]
    inside, liver = masks[0] == 1, anatomy.liver & (masks[0] == 0)
    assert spearmanr(texture, [image[inside].std() for image in images]).statistic >= 0.7
    assert abs(spearmanr(texture, [image[inside].mean() for image in images]).statistic) < 0.45
    assert abs(spearmanr(texture, [image[liver].std() for image in images]).statistic) < 0.45


def test_texture_is_measurable_on_mr_relative_to_the_liver(anatomy: Anatomy) -> None:
    masks = lesion(anatomy, 30.0)
    texture = np.random.default_rng(2).standard_normal(25)
    spread = []
    for seed, z in enumerate(texture):
        image = render_mr(np.random.default_rng(seed), anatomy, *masks, texture=z)
        assert image[masks[0] == 1].mean() < image[anatomy.liver & (masks[0] == 0)].mean()
        spread.append(image[masks[0] == 1].std() / np.median(image[anatomy.liver]))
    assert spearmanr(texture, spread).statistic >= 0.7


def test_the_latent_texture_changes_no_voxel_outside_the_lesions(anatomy: Anatomy) -> None:
    masks = lesion(anatomy, 30.0)
    low, high = ct(anatomy, masks, -2.0, seed=5), ct(anatomy, masks, 2.0, seed=5)
    assert np.array_equal(low[masks[0] == 0], high[masks[0] == 0])
    assert high[masks[0] == 1].std() > 2 * low[masks[0] == 1].std()


def test_tissues_have_plausible_hounsfield_units(anatomy: Anatomy) -> None:
    masks = lesion(anatomy, 40.0)
    image = ct(anatomy, masks, 0.0, seed=4)
    assert image.dtype == np.int16
    assert np.median(image[~anatomy.body]) == pytest.approx(-1000, abs=5)
    assert 90 < np.median(image[anatomy.liver & (masks[0] == 0)]) < 135
    assert 50 < image[masks[0] == 1].mean() < 95
    assert np.median(image[anatomy.portal_vein & (masks[0] == 0)]) > 135
    assert np.median(image[anatomy.fat]) < -80


def test_a_fatty_liver_is_darker(anatomy: Anatomy) -> None:
    masks = lesion(anatomy, 20.0)
    liver = anatomy.liver & (masks[0] == 0)
    normal, fatty = (
        np.median(render_ct(np.random.default_rng(4), anatomy, *masks, texture=0.0, steatosis=fat, noise_hu=5.0)[liver])
        for fat in (False, True)
    )
    assert 15 < normal - fatty < 25


@pytest.mark.parametrize("sigmas", [[0.3, 0.5, 0.5], [0.5, 1.2, 1.2]])
def test_correlated_noise_has_unit_variance(sigmas: list[float]) -> None:
    noise = correlated_noise(np.random.default_rng(0), (20, 50, 50), sigmas)
    assert noise.mean() == pytest.approx(0, abs=0.03)
    assert noise.std() == pytest.approx(1, abs=0.03)
