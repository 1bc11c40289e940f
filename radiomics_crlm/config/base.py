"""Base of all configuration, and how it is read."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

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
            f"{'.'.join(map(str, e['loc']))[:_MOST_SHOWN] or 'file'}: {e['msg'][:_MOST_SHOWN]}{_meant(model, e)}"
            for e in error.errors(include_url=False, include_input=False)[:10]
        )
        raise ConfigError("the configuration is not valid", where=where, got=faults) from None


def _meant(model: type[BaseModel], fault: ErrorDetails) -> str:
    """The known key that an unknown one may be meant to be."""
    if fault["type"] != "extra_forbidden":
        return ""
    key = str(fault["loc"][-1])[:_MOST_SHOWN]
    known = [name for name in _keys(model, set()) if name != key]  # the same key may stand elsewhere
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    return f" (did you mean {near[0]}?)" if near else ""


def _keys(annotation: object, seen: set[object]) -> list[str]:
    """All keys that a configuration knows, at any depth."""
    if annotation in seen:
        return []
    seen.add(annotation)
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return [key for part in get_args(annotation) for key in _keys(part, seen)]
    inner = [key for one in annotation.model_fields.values() for key in _keys(one.annotation, seen)]
    return [*annotation.model_fields, *inner]


def load_config(model: type[_Model], path: Path) -> _Model:
    """Read a YAML configuration file and check it.

    Raises
    ------
    ConfigError
        If the file is absent, no YAML, or not valid.
    """
    return parse_config(model, read_yaml(path), where=path.name)
