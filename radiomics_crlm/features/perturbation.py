"""Perturbations of a scan: what a second look at the same lesion might have given.

Each perturbation turns an image and its label mask into another image and mask on the same grid, from which features
are extracted as usual (Zwanenburg and others 2019, doi:10.1038/s41598-018-36938-4). Motion and
changes of the mask alone have their own modules. Chance comes in with the generator that is passed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy import ndimage

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.features.contours import Displacement, Growth
from radiomics_crlm.features.motion import Rotation, Translation, as_type, boxes_of, hull, widened
from radiomics_crlm.imaging.geometry import Volume

DEFAULTS = ("translate:0.25", "translate:-0.25", "rotate:6", "rotate:-6", "noise", "grow:0.15", "grow:-0.15",
            "randomise:1mm")  # fmt: skip
"""What is done unless the user says otherwise."""
ORIGINAL = "original"
"""Name under which the scan as it is stands among the perturbations."""
_NOISE_BOX_MM = 20.0
# High-pass of the wavelet coif1, as in mirp: blind to constants and slopes. The last digit is that of PyWavelets.
_COIF1_HIGH = (
    0.07273261951252645, 0.3378976624574818, -0.8525720202116004, 0.3848648468648578, 0.07273261951252645,
    -0.015655728135791993,
)  # fmt: skip
# Median of the absolute value of a standard normal variable.
_MEDIAN_ABS_NORMAL = 0.6744897501960817


class Perturbation(Protocol):
    """Something that changes image and mask. ``name`` is also how it is written on the command line."""

    @property
    def name(self) -> str:
        """Unique name."""

    @property
    def random(self) -> bool:
        """Whether two repeats of it differ."""

    def apply(self, image: Volume, mask: Volume, generator: np.random.Generator) -> tuple[Volume, Volume]:
        """Image and label mask after the perturbation, on the same grid and of the same types; inputs stay as they
        are. A label whose region vanished is no longer in the mask."""


@dataclass(frozen=True)
class Noise:
    """White Gaussian noise added to the image.

    Parameters
    ----------
    sd
        Standard deviation in the units of the image; None: as much as the image has around its lesions
        (`noise_sd`), so that its variance doubles.

    Raises
    ------
    ConfigError
        If it is not above 0.
    """

    sd: float | None = None

    def __post_init__(self) -> None:
        if self.sd is not None and not 0 < self.sd < np.inf:
            raise ConfigError("the noise is out of range", expected="a standard deviation above 0", got=f"{self.sd:g}")

    @property
    def name(self) -> str:
        """``noise`` or ``noise:12``."""
        return "noise" if self.sd is None else f"noise:{self.sd:g}"

    @property
    def random(self) -> bool:
        """Whether repeating it makes sense."""
        return True

    def apply(self, image: Volume, mask: Volume, generator: np.random.Generator) -> tuple[Volume, Volume]:
        """Noisy image (integers stay integers), and the mask as it is."""
        sd = noise_sd(image, mask) if self.sd is None else self.sd
        noisy = np.empty_like(image.array)
        for slice_, out in zip(image.array, noisy, strict=True):  # one at a time: a scan in floats is large
            out[...] = as_type(
                slice_ + sd * generator.standard_normal(slice_.shape, dtype=np.float32), image.array.dtype
            )
        return replace(image, array=noisy), mask


@dataclass(frozen=True)
class Chain:
    """Several perturbations, one after the other; none at all is the scan as it is."""

    parts: tuple[Perturbation, ...]

    @property
    def name(self) -> str:
        """Names joined by ``+``; ``original`` for none."""
        return "+".join(part.name for part in self.parts) or ORIGINAL

    @property
    def random(self) -> bool:
        """Whether any part is."""
        return any(part.random for part in self.parts)

    def apply(self, image: Volume, mask: Volume, generator: np.random.Generator) -> tuple[Volume, Volume]:
        """Image and mask after the last part; what vanished stays away."""
        for part in self.parts:
            if not mask.array.any():
                break
            image, mask = part.apply(image, mask, generator)
        return image, mask


def noise_sd(image: Volume, mask: Volume) -> float:
    """Standard deviation of the noise around the lesions, estimated from the image itself.

    The median absolute coefficient of the finest diagonal wavelet band (coif1 along rows and columns, undecimated)
    divided by 0.6745: Chang, Yu and Vetterli 2000, doi:10.1109/83.862633, as in mirp. It sees the part of the noise
    that changes from pixel to pixel; a smooth reconstruction kernel leaves less of that than the noise really has. It
    is 0 for an image without noise, or where padding fills most of the surroundings.

    Parameters
    ----------
    image
        Scan, in whatever unit.
    mask
        Label mask; the lesions and 20 mm around them are looked at.
    """
    part = image.array[widened(hull(boxes_of(mask)), image, _NOISE_BOX_MM, 0)].astype(np.float64)
    for axis in (1, 2):
        part = ndimage.convolve1d(part, np.array(_COIF1_HIGH), axis=axis, mode="mirror")
    return float(np.median(np.abs(part))) / _MEDIAN_ABS_NORMAL


def parse_perturbation(text: str) -> Perturbation:
    """A perturbation as it is written on the command line; several joined by ``+`` are done one after the other.

    Examples
    --------
    >>> [parse_perturbation(t).name for t in ("translate:0.25", "rotate:-6", "noise", "grow:0.15", "grow:-1mm")]
    ['translate:0.25', 'rotate:-6', 'noise', 'grow:0.15', 'grow:-1mm']
    >>> parse_perturbation("rotate:6+randomise:1mm")
    Chain(parts=(Rotation(degrees=6.0), Displacement(sd_mm=1.0)))

    Raises
    ------
    ConfigError
        For an unknown kind or numbers that do not fit it.
    """
    parts = [_parse_one(part.strip()) for part in text.split("+")]
    return parts[0] if len(parts) == 1 else Chain(tuple(parts))


def plan_perturbations(texts: Sequence[str], repeats: int) -> list[tuple[str, Perturbation]]:
    """Names and perturbations to do, the scan as it is first; random ones are repeated as ``noise``, ``noise#2``, ...

    Raises
    ------
    ConfigError
        For a perturbation that is given twice or cannot be parsed, or repeats below 1.
    """
    if repeats < 1:
        raise ConfigError("the number of repeats is out of range", expected="1 or more", got=str(repeats))
    plan: list[tuple[str, Perturbation]] = [(ORIGINAL, Chain(()))]
    for text in texts:
        perturbation = parse_perturbation(text)
        times = repeats if perturbation.random else 1
        plan += [(perturbation.name + (f"#{k}" if k > 1 else ""), perturbation) for k in range(1, times + 1)]
    names = [name for name, _ in plan]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError("a perturbation is given twice", got=", ".join(repeated))
    return plan


def generator_for(seed: int, *words: str) -> np.random.Generator:
    """A generator of its own for each scan and perturbation: what one draws does not depend on what else is done."""
    digest = hashlib.sha256("\x1f".join(words).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, dtype="<u4").tolist()])


_USAGE = (
    "translate:FRACTION or translate:X/Y/Z, rotate:DEGREES, noise or noise:SD, grow:FRACTION or grow:MMmm, "
    "randomise:MMmm"
)


def _parse_one(text: str) -> Perturbation:
    kind, colon, argument = text.partition(":")
    in_mm, numbers = argument.endswith("mm"), argument.removesuffix("mm")
    try:
        values = [float(n) for n in numbers.split("/")] if argument else []
    except ValueError:
        values = []
    match (kind, in_mm, values):
        case ("translate", False, [fraction]):
            return Translation(fraction, fraction, fraction)
        case ("translate", False, [x, y, z]):
            return Translation(x, y, z)
        case ("rotate", False, [degrees]):
            return Rotation(degrees)
        case ("noise", False, [sd]):
            return Noise(sd)
        case ("noise", False, []) if not colon:
            return Noise()
        case ("grow", _, [amount]):
            return Growth(amount, "mm" if in_mm else "fraction")
        case ("randomise", True, [sd]):
            return Displacement(sd)
    raise ConfigError("a perturbation cannot be parsed", expected=_USAGE, got=repr(text[:40]))
