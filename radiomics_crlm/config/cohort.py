"""Where patients come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from radiomics_crlm.config.base import Moment, Strict


class SimulatedSource(Strict):
    """A simulated cohort, made on the spot (keys of ``phantom.SimulationConfig``)."""

    kind: Literal["simulated"]
    settings: dict[str, int | float] = Field(default_factory=dict)


class FolderSource(Strict):
    """A cohort folder given on the command line with ``--data``.

    ``features`` names a table of that folder with features per patient and scan that another program made (table
    ``features_patient``); without it they are extracted from the images.
    """

    kind: Literal["folder"]
    features: str | None = Field(default=None, min_length=1, description="table in the folder, .csv or .parquet")


class TciaClinicalSource(Strict):
    """The clinical table of the TCIA collection Colorectal-Liver-Metastases, found below ``--data`` by its header.

    ``radiomics`` joins the 90 patients of the radMLBench feature table by key. They were selected on survival, so an
    experiment that joins them makes no performance claim.
    """

    kind: Literal["tcia_crlm_clinical"]
    radiomics: bool = False


class CohortNotes(Strict):
    """``cohort.yaml`` beside a cohort's clinical table."""

    name: str = ""
    citation: str = ""
    available_at: dict[str, Moment] = Field(default_factory=dict, description="columns known later than usual here")
    ignore_columns: tuple[str, ...] = ()
    units: dict[str, str] = Field(
        default_factory=dict,
        description="column: unit of its values, where it is not the canonical one (largest_met_mm: cm)",
    )
    date_format: str | None = Field(default=None, description="of all dates, where it is not ISO 8601 (%d.%m.%Y)")
