"""Where the data files of the package lie: inside the wheel, or beside the package in a source tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from radiomics_crlm.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


def resource(relative: str) -> Path:
    """Path of a shipped file or folder such as ``data_schemas/clinical.yaml``.

    Raises
    ------
    ConfigError
        If the installation lacks it.
    """
    for root in (_PACKAGE, _PACKAGE.parent):
        if (root / relative).exists():
            return root / relative
    raise ConfigError(f"the installation lacks {relative!r}", remedy="reinstall the package")


def shipped_yaml(relative: str) -> Any:
    """Content of a shipped YAML file; documents of users are read with `radiomics_crlm.config.documents.read_yaml`.

    Raises
    ------
    ConfigError
        If the installation lacks it.
    """
    import yaml  # whoever asks for places alone, as completion does, need not wait for it

    # The parser in C takes a seventh of the time; not every build has it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(resource(relative).read_bytes(), Loader=loader)  # noqa: S506  (both loaders are safe)
