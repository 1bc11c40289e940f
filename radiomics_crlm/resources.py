"""Where the data files of the package lie: inside the wheel, or beside the package in a source tree."""

from __future__ import annotations

from pathlib import Path

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
