"""Is a CT portal-venous? Graded from the injection delay and from the HU of liver, portal vein and aorta.

The bounds on the delay are those of the clinical rule ``portal_venous_qc`` (a test holds the two together). The HU
bounds are choices of this project, made from what contrast does rather than fitted to outcomes: unenhanced blood has
35-50 HU and liver 50-65 HU; some 20-35 s after injection the aorta stands above 200 HU with the portal vein far below
it; at 60-75 s portal vein and aorta come together at 130-200 HU and the liver peaks near 100-120 HU; later the vessels
fade towards the liver. A fatty liver may lie 30 HU lower, so a dark liver alone never fails a scan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from radiomics_crlm.imaging.regions import peeled

PASS, DOUBTFUL, FAIL = "pass", "doubtful", "fail"
VERDICTS = (PASS, DOUBTFUL, FAIL)

# Seconds from the start of injection, ends included: pass, and the wider band that is doubtful.
MAX_DELAY_S = 600.0
DELAY_PASS_S, DELAY_DOUBTFUL_S = (60.0, 75.0), (50.0, 90.0)
# Portal vein (or aorta) below: not opacified, weakly opacified.
VESSEL_FAIL_HU, VESSEL_DOUBTFUL_HU = 80.0, 110.0
# Aorta above portal vein by more: arterial phase, late arterial phase.
ARTERIAL_FAIL_HU, ARTERIAL_DOUBTFUL_HU = 80.0, 35.0
# Portal vein above liver by less: delayed phase, or a scan without contrast.
DELAYED_DOUBTFUL_HU = 15.0
# Liver below: unenhanced or fatty; together with dark vessels it is unenhanced.
LIVER_DOUBTFUL_HU = 75.0
# Organs are judged by the median of what is left when a voxel is peeled off, if that is at least so many voxels.
_MIN_VOXELS = 20


@dataclass(frozen=True)
class PhaseVerdict:
    """``pass``, ``doubtful`` or ``fail``, why, and the numbers behind it (HU medians; None where unknown)."""

    verdict: str
    reasons: tuple[str, ...]
    delay_s: float | None = None
    liver_hu: float | None = None
    portal_hu: float | None = None
    aorta_hu: float | None = None


def worst(verdicts: tuple[str, ...]) -> str:
    """The worst of some verdicts.

    >>> worst(("pass", "doubtful")), worst(())
    ('doubtful', 'pass')
    """
    return max(verdicts, key=VERDICTS.index, default=PASS)


def delay_verdict(delay_s: float) -> str:
    """Verdict on the delay between injection and scan.

    >>> [delay_verdict(s) for s in (49, 50, 60, 75, 76, 91)]
    ['fail', 'doubtful', 'pass', 'pass', 'doubtful', 'fail']
    """
    if DELAY_PASS_S[0] <= delay_s <= DELAY_PASS_S[1]:
        return PASS
    return DOUBTFUL if DELAY_DOUBTFUL_S[0] <= delay_s <= DELAY_DOUBTFUL_S[1] else FAIL


def delay_between(injection: str, acquisition: str) -> float | None:
    """Seconds between two DICOM times (``HHMMSS.FFFFFF``); None where one is absent or the delay is none of a CT.

    Scanners that do not know the injection write the time of the study; so a delay of 0 is no delay, like one beyond
    ten minutes.

    >>> delay_between("101500", "101610.5"), delay_between("", "101610"), delay_between("101500", "101500")
    (70.5, None, None)
    """
    times = [re.fullmatch(r"(\d\d)(\d\d)(\d\d(?:\.\d{1,6})?)", text.strip()) for text in (injection, acquisition)]
    if times[0] is None or times[1] is None:
        return None
    start, scan = (int(t[1]) * 3600 + int(t[2]) * 60 + float(t[3]) for t in times if t is not None)
    return scan - start if 0 < scan - start <= MAX_DELAY_S else None


def portal_venous_phase(
    image: np.ndarray,
    anatomy: Mapping[str, np.ndarray],
    *,
    tumour: np.ndarray | None = None,
    delay_s: float | None = None,
) -> PhaseVerdict:
    """Grade a CT as portal-venous.

    Parameters
    ----------
    image
        HU, shape ``(z, y, x)``.
    anatomy
        Boolean arrays by role; ``liver``, ``portal_vein``, ``hepatic_veins`` and ``aorta`` are used where they exist.
    tumour
        Lesions, which are no liver tissue.
    delay_s
        Seconds from the start of injection to the scan, where known.

    Returns
    -------
    PhaseVerdict
        The worst of the verdicts on the delay and on the HU. Without a delay and without a mask the verdict is
        ``doubtful``, because nothing speaks for the phase.
    """
    vessels = [anatomy[role] for role in ("portal_vein", "hepatic_veins") if role in anatomy]
    liver = organ_hu(image, anatomy.get("liver"), without=[*vessels, *([] if tumour is None else [tumour])])
    portal = organ_hu(image, anatomy.get("portal_vein"))
    aorta = organ_hu(image, anatomy.get("aorta"))
    found = [] if delay_s is None else [(delay_verdict(delay_s), f"delay {delay_s:.0f} s")]
    found += _by_hu(liver, portal, aorta)
    if not found:
        found = [(DOUBTFUL, "neither delay nor organ masks tell the phase")]
    verdict = worst(tuple(v for v, _ in found))
    reasons = tuple(text for v, text in found if v == verdict)
    return PhaseVerdict(verdict, reasons, delay_s, liver, portal, aorta)


def organ_hu(image: np.ndarray, region: np.ndarray | None, without: list[np.ndarray] | None = None) -> float | None:
    """Median HU of an organ, one voxel away from its in-plane border where enough is left; None for fewer than 20."""
    if region is None:
        return None
    for other in without or []:
        region = region & ~other
    if int(region.sum()) < _MIN_VOXELS:
        return None
    inner = peeled(region)
    return float(np.median(image[inner if int(inner.sum()) >= _MIN_VOXELS else region]))


def _by_hu(liver: float | None, portal: float | None, aorta: float | None) -> list[tuple[str, str]]:
    """Verdicts that the HU allow, each with its reason."""
    found = []
    if portal is not None and aorta is not None:
        found.append(_arterial(aorta - portal))
    vessel = portal if portal is not None else aorta
    if vessel is not None:
        found.append(_opacified(vessel, "portal vein" if portal is not None else "aorta"))
    if liver is not None and portal is not None:
        late = portal - liver < DELAYED_DOUBTFUL_HU
        text = f"portal vein {portal - liver:.0f} HU above liver"
        found.append((DOUBTFUL, text + ": delayed or unenhanced") if late else (PASS, text))
    if liver is not None:
        dark = liver < LIVER_DOUBTFUL_HU
        text = f"liver {liver:.0f} HU" + ("" if vessel is not None else ", no vessel mask")
        found.append((DOUBTFUL, text + ": unenhanced or fatty") if dark else (PASS, text))
    return found


def _arterial(excess: float) -> tuple[str, str]:
    text = f"aorta {excess:+.0f} HU against portal vein"
    if excess > ARTERIAL_FAIL_HU:
        return FAIL, text + ": arterial phase"
    return (DOUBTFUL, text + ": late arterial phase") if excess > ARTERIAL_DOUBTFUL_HU else (PASS, text)


def _opacified(hu: float, name: str) -> tuple[str, str]:
    text = f"{name} {hu:.0f} HU"
    if hu < VESSEL_FAIL_HU:
        return FAIL, text + ": not opacified"
    return (DOUBTFUL, text + ": weakly opacified") if hu < VESSEL_DOUBTFUL_HU else (PASS, text)
