"""Base of all configuration, and how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from radiomics_crlm.config.documents import read_yaml
from radiomics_crlm.errors import ConfigError

Moment = Literal["baseline", "restaging", "preoperative", "postoperative", "outcome"]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=60)]

_MOST_SHOWN = 300  # characters of a field or a rule; either may quote the file


class Strict(BaseModel):
    """Base of all configuration: immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_Model = TypeVar("_Model", bound=Strict)


def parse_config(model: type[_Model], content: object, *, where: str) -> _Model:
    """Check a configuration.

    Raises
    ------
    ConfigError
        Naming each field that is unknown, missing or wrong, and the rule.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc']))[:_MOST_SHOWN] or 'file'}: {e['msg'][:_MOST_SHOWN]}"
            for e in error.errors(include_url=False, include_input=False)[:10]
        )
        raise ConfigError("the configuration is not valid", where=where, got=faults) from None


def load_config(model: type[_Model], path: Path) -> _Model:
    """Read a YAML configuration file and check it.

    Raises
    ------
    ConfigError
        If the file is absent, no YAML, or not valid.
    """
    return parse_config(model, read_yaml(path), where=path.name)
