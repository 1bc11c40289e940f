"""Fixtures of the tests of the card."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from full_run_folder import make_full_run_folder
from run_folder import edit_run, experiment, make_run_folder

from radiomics_crlm.report import build_card, render_card
from radiomics_crlm.report import page as page_module


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    """Small run folders by their endpoints, for copies."""
    return functools.cache(
        lambda endpoints: make_run_folder(tmp_path_factory.mktemp("made"), n=60, endpoints=endpoints)
    )


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with every table, to read; who changes something takes a copy."""
    return make_full_run_folder(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="session")
def full_card(full_run: Path) -> dict[str, Any]:
    """The card of `full_run`, with figures."""
    return build_card(full_run)


@pytest.fixture(scope="session")
def full_page(full_card: dict[str, Any]) -> str:
    """The page of `full_card`."""
    return render_card(full_card)


@pytest.fixture
def full_copy(full_run: Path, tmp_path: Path) -> Path:
    """A copy of `full_run` that a test may change."""
    return Path(shutil.copytree(full_run, tmp_path / "run"))


@pytest.fixture
def fresh(tmp_path: Path, made: Callable[[tuple[str, ...]], Path]) -> Callable[..., Path]:
    """Copies of run folders that a test may change; by default with one endpoint, because that is faster."""

    def copy(endpoints: tuple[str, ...] = ("os",), **changes: Any) -> Path:
        shutil.copytree(made(endpoints), tmp_path, dirs_exist_ok=True)
        edit_run(tmp_path, experiment=experiment(endpoints=endpoints, **changes))
        return tmp_path

    return copy


@pytest.fixture
def text_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], str]:
    """Renders without drawing (drawing takes most of the time) and strips the tags."""
    monkeypatch.setattr(page_module, "_figures", lambda _: iter(()))
    return lambda card: re.sub(r"<[^>]+>", "", render_card(card))
