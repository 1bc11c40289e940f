"""What can be chosen about a simulated cohort, and the random streams of a patient."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from pydantic import Field

from radiomics_crlm.config import Strict

# The first seed from 20261121 on whose 60 patients give at least 14 in each class of conversion and of recurrence by 24
# months, and at least 22 such recurrences. Chosen by these counts alone.
DEFAULT_SEED = 20261127
DEFAULT_TEXTURE_EFFECT = 1.7


class SimulationConfig(Strict):
    """Settings of a simulated cohort; check a mapping with ``config.parse_config(SimulationConfig, ...)``.

    ``texture_effect`` is the log hazard ratio of recurrence, and minus the log odds ratio of conversion, per standard
    deviation of the latent texture; 0 means that the images carry no prognostic texture. ``clinical_effect`` multiplies
    every clinical coefficient; 0 means that the chart carries nothing. Fractions lie between 0 and 1; ``noise_hu`` is
    the standard deviation of the CT noise.

    Examples
    --------
    >>> SimulationConfig(patients=4).texture_effect == DEFAULT_TEXTURE_EFFECT
    True
    """

    patients: int = Field(default=60, ge=1, le=100_000)
    seed: int = Field(default=DEFAULT_SEED, ge=0, lt=2**32)
    texture_effect: float = Field(default=DEFAULT_TEXTURE_EFFECT, ge=-5, le=5)
    clinical_effect: float = Field(default=1.0, ge=0, le=5)
    missing_fraction: float = Field(default=0.08, ge=0, le=0.9)
    mr_fraction: float = Field(default=0.4, ge=0, le=1)
    unresectable_fraction: float = Field(default=0.5, ge=0, le=1)
    noise_hu: float = Field(default=11.0, ge=0, le=50)


class Stream(IntEnum):
    """Independent random streams of one patient, so that a change in one part leaves the others as they were."""

    TEXTURE = 0
    CHART = 1
    OUTCOME = 2
    MISSING = 3
    ANATOMY = 4
    RESPONSE = 5
    CT_FIRST = 6
    CT_RESTAGING = 7
    MR = 8
    POSTOPERATIVE = 9


def generator(config: SimulationConfig, patient: int, stream: Stream) -> np.random.Generator:
    """Generator of one stream of patient number ``patient`` (from 0).

    It depends on the seed and on that number alone, so a patient is the same in cohorts of any size and with any number
    of jobs.
    """
    return np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(patient, int(stream))))
