"""Where data files lie: in a wheel, in a source tree, and nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from radiomics_crlm import resources
from radiomics_crlm.config import read_yaml
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.resources import resource, shipped_yaml


def test_the_wheel_comes_before_the_source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "radiomics_crlm"
    beside = tmp_path / "configs" / "a.yaml"
    inside = package / "configs" / "a.yaml"
    for path in (beside, inside):
        path.parent.mkdir(parents=True)
    beside.write_text("beside")
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resource("configs/a.yaml") == beside
    inside.write_text("inside")
    assert resource("configs/a.yaml") == inside
    assert resource("configs") == package / "configs"


def test_a_broken_installation_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^the installation lacks 'configs/none\.yaml'\. Reinstall the package\.$"):
        resource("configs/none.yaml")


def test_shipped_files_say_each_thing_once_and_read_as_those_of_users() -> None:
    """The fast reader would keep the last of two equal keys; that of users refuses them, and has the same values."""
    folders = ("clinical/data", "configs", "data_schemas", "report/data")
    shipped = [path for folder in folders for path in sorted(resource(folder).rglob("*.yaml"))]
    assert len(shipped) > 60
    for path in shipped:
        assert shipped_yaml(str(path)) == read_yaml(path), path.name
