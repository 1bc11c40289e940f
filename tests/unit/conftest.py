"""Fixtures of the tests of the card."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folder import edit_run, experiment, make_run_folder

from radiomics_crlm.report import page as page_module
from radiomics_crlm.report import render_card


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    """Small run folders by their endpoints, for copies."""
    return functools.cache(
        lambda endpoints: make_run_folder(tmp_path_factory.mktemp("made"), n=60, endpoints=endpoints)
    )


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
