"""The program starts at once: a command brings its libraries, the list of commands none."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"numpy", "pandas", "pydantic", "SimpleITK", "sklearn", "xgboost", "mlflow", "shap", "matplotlib", "numba"}


def test_no_library_is_loaded_before_a_command_needs_it() -> None:
    code = "import sys, radiomics_crlm.cli.app; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert HEAVY & set(done.stdout.split()) == set()
