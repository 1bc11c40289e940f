"""Grey values: portal-venous CT in HU and hepatobiliary MR in arbitrary units; lesions carry the latent texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from radiomics_crlm.phantom.anatomy import Anatomy, Grid

# Texture of the lesions: amplitude exp(a + b z) in HU and correlation length exp(c + d z) in mm.
TEXTURE_HU, TEXTURE_HU_PER_SD = 18.0, 0.42
TEXTURE_MM, TEXTURE_MM_PER_SD = 1.7, -0.10
# Metastases of one patient differ a little in their texture.
TEXTURE_SD_WITHIN_PATIENT = 0.2


@dataclass(frozen=True)
class Tissue:
    """Mean grey value of each tissue; ``contrast`` multiplies the lesion texture (HU to the scale of the image)."""

    air: float
    fat: float
    muscle: float
    spine: float
    aorta: float
    spleen: float
    liver: float
    veins: float
    portal: float
    lesion: float
    rim: float
    contrast: float = 1.0


def lesion_texture(rng: np.random.Generator, grid: Grid, labels: np.ndarray, texture: float) -> np.ndarray:
    """Texture of the lesions in HU, shape ``(z, y, x)``, zero elsewhere.

    Each lesion gets stationary Gaussian noise of mean 0 whose amplitude grows and whose correlation length shrinks with
    the latent ``texture`` (standard normal). Amplitude and length know nothing of size, number or place.
    """
    field = np.zeros(grid.shape, dtype=np.float32)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        level = texture + TEXTURE_SD_WITHIN_PATIENT * rng.standard_normal()
        if box is None:
            continue
        length = TEXTURE_MM * np.exp(TEXTURE_MM_PER_SD * level)
        amplitude = TEXTURE_HU * np.exp(TEXTURE_HU_PER_SD * level)
        inside = labels[box] == label
        noise = correlated_noise(rng, inside.shape, [length / step for step in grid.sampling])
        field[box][inside] = amplitude * noise[inside]
    return field


def correlated_noise(rng: np.random.Generator, shape: tuple[int, ...], sigmas: list[float]) -> np.ndarray:
    """Gaussian noise of mean 0 and variance 1 with Gaussian correlation; ``sigmas`` in voxels per axis."""
    margin = [int(np.ceil(3 * s)) for s in sigmas]
    noise = rng.standard_normal([n + 2 * m for n, m in zip(shape, margin, strict=True)])
    for axis, sigma in enumerate(sigmas):
        reach = max(1, margin[axis])
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        noise = ndimage.convolve1d(noise, kernel / np.linalg.norm(kernel), axis=axis, mode="wrap")
    return noise[tuple(slice(m, m + n) for n, m in zip(shape, margin, strict=True))]


def render_ct(
    rng: np.random.Generator,
    anatomy: Anatomy,
    labels: np.ndarray,
    radius: np.ndarray,
    *,
    texture: float,
    steatosis: bool,
    noise_hu: float,
) -> np.ndarray:
    """Portal-venous CT as int16 HU, shape ``(z, y, x)``.

    Parameters
    ----------
    labels, radius
        As from `lesions.render_lesions`.
    texture
        Latent texture of the patient.
    steatosis
        A fatty liver is about 20 HU darker.
    noise_hu
        Standard deviation of the noise in HU.
    """
    liver = 112 + 6 * rng.standard_normal() - (20 if steatosis else 0)
    vessels = 165 + 8 * rng.standard_normal()
    lesion = min(70 + 5 * rng.standard_normal(), liver - 15)
    tissue = Tissue(
        air=-1000, fat=-98, muscle=52, spine=230, aorta=vessels - 12, spleen=liver + 8, liver=liver,
        veins=vessels, portal=vessels + 4, lesion=lesion, rim=12,
    )  # fmt: skip
    image = _tissue_image(anatomy, labels, radius, tissue)
    image += noise_hu * correlated_noise(rng, anatomy.grid.shape, [0.3, 0.55, 0.55])
    # Last, because how much noise it draws depends on the texture: everything else stays the same without it.
    image += lesion_texture(rng, anatomy.grid, labels, texture)
    return np.clip(np.round(image), -1024, 3071).astype(np.int16)


def render_mr(
    rng: np.random.Generator, anatomy: Anatomy, labels: np.ndarray, radius: np.ndarray, *, texture: float
) -> np.ndarray:
    """Hepatobiliary-phase MR as int16 in arbitrary units: liver bright, lesions dark, a bias field, a random scale."""
    tissue = Tissue(
        air=0, fat=420, muscle=240, spine=260, aorta=170, spleen=230, liver=600, veins=190, portal=190,
        lesion=260, rim=20, contrast=4.0,
    )  # fmt: skip
    x, y, z = (axis / np.abs(axis).max() for axis in anatomy.grid.axes())
    b = rng.uniform(-0.2, 0.2, size=5)
    bias = np.exp(b[0] * x + b[1] * y + b[2] * z + b[3] * (x * x + y * y - 1) + b[4] * x * y)
    scale = np.exp(rng.uniform(np.log(0.4), np.log(4.0)))
    noise = 20 * correlated_noise(rng, anatomy.grid.shape, [0.3, 0.5, 0.5])
    image = _tissue_image(anatomy, labels, radius, tissue)
    image += tissue.contrast * lesion_texture(rng, anatomy.grid, labels, texture)
    image = image * bias + noise
    return np.clip(np.round(np.abs(image) * scale), 0, 32000).astype(np.int16)


def _tissue_image(anatomy: Anatomy, labels: np.ndarray, radius: np.ndarray, tissue: Tissue) -> np.ndarray:
    """Mean grey values, slightly blurred in the plane as by a reconstruction kernel."""
    image = np.full(anatomy.grid.shape, tissue.air, dtype=np.float32)
    for region, value in (
        (anatomy.body, tissue.muscle),
        (anatomy.fat, tissue.fat),
        (anatomy.spine, tissue.spine),
        (anatomy.aorta, tissue.aorta),
        (anatomy.spleen, tissue.spleen),
        (anatomy.liver, tissue.liver),
        (anatomy.hepatic_veins, tissue.veins),
        (anatomy.portal_vein, tissue.portal),
    ):
        image[region] = value
    inside = labels > 0
    image[inside] = tissue.lesion + tissue.rim * (radius[inside] > 0.85)
    return ndimage.gaussian_filter(image, (0.0, 0.5, 0.5))
