"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

# As the command sets it for its own processes: two workers of pytest-xdist whose libraries had two threads each would
# spend half of their time waiting for one another.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from radiomics_crlm.errors import ConfigError  # noqa: E402
from radiomics_crlm.report.pdf import require_pdf  # noqa: E402

# The same examples in every run, however busy the machine is; others with --hypothesis-profile default.
settings.register_profile("tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

_REPOSITORY = Path(__file__).resolve().parents[1]


# Before pytest-xdist reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a module share its fixtures, so one worker runs them all, unless they belong to a group of several."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.location[0]))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests are made once and stay to the end: the garbage collector need not look through them again and
    again, for 0.4 s each time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; the test is skipped where it is absent, because none of it is committed."""
    folder = Path(os.environ.get("CRLM_SHARED_DATA", _REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real data folder is absent (set CRLM_SHARED_DATA to use another place)")
    return folder


@pytest.fixture
def pypdf() -> ModuleType:
    """The library that reads PDF; the test is skipped where none can be written."""
    try:
        require_pdf()
    except ConfigError as missing:
        pytest.skip(str(missing))
    return pytest.importorskip("pypdf")
