"""The import contracts of `pyproject.toml`, and the length of files and functions."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60


def test_the_import_contracts_are_kept() -> None:
    """The linter runs in another process, because it does not run after an import of Daphne."""
    outcome = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_files_and_functions_are_short() -> None:
    """CONTRIBUTING.md names the bounds. Tests may be longer."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        packages = tomllib.load(file)["tool"]["importlinter"]["root_packages"]
    sources = [
        path
        for package in (*packages, "benchmarks", "examples")
        for path in (ROOT / package).rglob("*.py")
        if "node_modules" not in path.parts
    ]
    assert len(sources) > 200
    too_long = [str(path) for path in sources if len(path.read_text().splitlines()) > FILE_LINES_MAX]
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                too_long += [f"{path}:{node.lineno} {node.name}"] * (lines > FUNCTION_LINES_MAX)
    assert too_long == []
