"""What is predicted, for whom and from when."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from radiomics_crlm.config.base import Moment, Strict, parse_config
from radiomics_crlm.resources import shipped_yaml


class EndpointConfig(Strict):
    """What is predicted, for whom, from when, and at which moment the prediction is made.

    ``event``, ``months`` and ``competing`` name outcome columns of the clinical table. A binary endpoint is the same
    pair with a ``horizon_months``; if it has no time column (``months: null``), the label is known at the horizon.
    """

    title: str
    kind: Literal["time_to_event", "binary"]
    event: str
    event_levels: tuple[str, ...] = Field(default=(), description="levels that are the event, of a column with levels")
    months: str | None = None
    competing: str | None = Field(default=None, description="column that is true for the event or the competing event")
    horizon_months: float | None = Field(default=None, gt=0)
    index_date: str
    prediction_time: Moment
    population: dict[str, bool | str] = Field(default_factory=dict, description="clinical column: value it must have")
    population_if_recorded: dict[str, bool | str] = Field(
        default_factory=dict, description="the same, where the cohort has the column and it is known"
    )
    population_title: str = "all patients"
    higher_is_worse: bool = True
    min_events: int = Field(default=10, ge=2)

    @model_validator(mode="after")
    def _binary_has_horizon(self) -> EndpointConfig:
        if self.kind == "binary" and self.horizon_months is None:
            raise ValueError("a binary endpoint needs horizon_months")
        if self.kind == "time_to_event" and (self.months is None or self.horizon_months is not None):
            raise ValueError("a time-to-event endpoint needs months and has no horizon_months")
        return self


def load_endpoints() -> dict[str, EndpointConfig]:
    """The endpoint definitions of ``configs/endpoints.yaml``, by name."""
    content = shipped_yaml("configs/endpoints.yaml")
    return {name: parse_config(EndpointConfig, body, where=f"endpoints.yaml: {name}") for name, body in content.items()}
