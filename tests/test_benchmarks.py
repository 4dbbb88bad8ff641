"""Benchmarks that no test runs refer only to functions and files that exist."""

import re
from pathlib import Path

import pytest

from benchmarks.profile import STEPS

ROOT = Path(__file__).resolve().parents[1]
PARTS = sorted({part for steps in STEPS.values() for _, parts in steps for part in parts})
LIBRARIES = ("channels/", "concurrent/", "django/", "prometheus_client/", "rest_framework/", "uvicorn/")


@pytest.mark.parametrize("part", [part for part in PARTS if not part.startswith(LIBRARIES)])
def test_the_profile_names_functions_and_files_that_exist(part: str) -> None:
    """A part is a path, or a function or class, perhaps with its file: `settle (matching/a.py`."""
    function, _, place = part.partition(" (")
    if "/" in function:
        assert (ROOT / function).exists()
        return
    files = [ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py")
    name = re.compile(rf"(def|class) {function.rpartition('.')[2]}\b")
    found = [file for file in files if not file.is_relative_to(ROOT / "tests") and ".venv" not in file.parts]
    assert any(name.search(file.read_text()) for file in found)
