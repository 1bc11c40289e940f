"""The block that people fill in by hand: nobody but them can say that a model may be used."""

from __future__ import annotations

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part

_ROLES = (
    ("Liver surgeon or oncologist", "the clinical question, the patients and the cautions are right"),
    ("Radiologist", "scans, outlines and feature settings are fit for the purpose"),
    ("Statistician", "design, sample size, performance and calibration were read and understood"),
    ("Data protection", "the card and what is delivered with it show no single patient"),
    ("Owner of the model", "answers for its use and for taking it out of use"),
)
_DECISIONS = ("For research only", "For evaluation beside usual care, results not shown to the team", "Not to be used")
_FIELDS = ("Name", "Date", "Signature")


def signoff(artefacts: Artefacts, _: Part) -> Part:
    """Empty fields; the program never fills one in."""
    delivered = [
        {"endpoint": artefacts.endpoints[name].title if name in artefacts.endpoints else name, "sha256": body["sha256"]}
        for name, body in artefacts.part("delivered").items()
        if body.get("sha256")
    ]
    return {
        "fields": list(_FIELDS),
        "rows": [{"role": role, "confirms": confirms} for role, confirms in _ROLES],
        "decisions": list(_DECISIONS),
        "delivered": delivered,
    }
