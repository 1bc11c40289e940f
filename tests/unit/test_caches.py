"""Compiled loops have a place to be kept, however the program is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from radiomics_crlm.cli import caches


def test_where_the_installation_or_the_home_can_be_written_nothing_is_named() -> None:
    environment: dict[str, str] = {}
    caches.place_caches(environment)
    assert environment == {}


def test_a_folder_that_the_user_names_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "writable", lambda _: False)
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    caches.place_caches(environment)
    assert environment == {"NUMBA_CACHE_DIR": str(tmp_path)}


def test_elsewhere_a_folder_lasts_as_long_as_the_program() -> None:
    code = (
        "import os, pathlib\n"
        "from radiomics_crlm.cli import caches\n"
        "caches.usual_places = lambda environment: [pathlib.Path(caches.__file__) / 'below a file']\n"
        "caches.place_caches(os.environ)\n"
        "from radiomics_crlm.features import texture_kernels\n"
        "folder = pathlib.Path(os.environ['NUMBA_CACHE_DIR'])\n"
        "assert os.environ['MPLCONFIGDIR'] == str(folder)\n"
        "print(folder, oct(folder.stat().st_mode & 0o777))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    folder, mode = done.stdout.split()
    assert mode == "0o700"
    assert not Path(folder).exists()


def test_places_follow_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside, cache = caches.usual_places({"XDG_CACHE_HOME": str(tmp_path)})
    assert beside.parent.name == "features"
    assert cache == tmp_path / "numba"
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert list(caches.usual_places({})) == [beside]


def test_a_folder_that_cannot_be_made_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert caches.writable(tmp_path / "not" / "there" / "yet")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert not caches.writable(tmp_path)
