"""Installs the packages of pyproject.toml into .venv: `.venv/bin/python install.py embedded dev`.

The arguments are the extras that are needed besides the dependencies. The versions are those of
constraints.txt. The project itself is not installed: it runs from its folder.

uv installs in a tenth of pip's time. It takes the packages from where pip would take them: pip's
indexes and folders are passed on to it. If uv can't be installed, or fails, pip installs.

Uses the standard library alone, because nothing is installed before.
"""

import ast
import importlib.util
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ENVIRONMENT = Path(sys.prefix)
CONSTRAINTS = "constraints.txt"
PYTHON = [sys.executable, "-m"]
# The environment usually has no pip. Installing another pip takes as long as many packages.
PIP = [sys.executable if importlib.util.find_spec("pip") else sys._base_executable, "-m", "pip"]  # type: ignore[attr-defined]
# Settings of pip that say where packages come from, and the options of uv that say the same. Other
# settings of pip can only make uv fail, and then pip is used.
SOURCES = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "no-index": "--no-index",
    "constraint": "--constraints",
}
SECTIONS = ("global", "install", ":env:")  # of pip's configuration, the later ones come first
# Modules that are hardly ever imported, and take as long to compile as all others.
RARELY_IMPORTED = (
    "pip|setuptools|pbr|valkey|pygments|tests?|gis|wamp|twisted/(conch|mail|names|trial|words)"
    "|mypy|numpy|matplotlib|fontTools|PIL|graphql|uv"
)


def requirements(extras: list[str]) -> list[str]:
    """Return the requirements of the project and of these extras."""
    with Path("pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(line for name in extras for line in optional[name])]


def uv_options(configuration: str) -> Iterator[str]:
    """Yield uv's options for the sources in pip's configuration, as `pip config list` shows it."""
    settings: dict[str, tuple[int, str]] = {}
    for line in configuration.splitlines():
        setting, _, value = line.partition("=")
        section, _, name = setting.rpartition(".")
        if section in SECTIONS and name in SOURCES:
            found = (SECTIONS.index(section), str(ast.literal_eval(value)))
            settings[name] = max(settings.get(name, found), found, key=lambda each: each[0])
    for name, (_, value) in settings.items():
        if name != "no-index":
            for part in value.split():
                yield f"{SOURCES[name]}={part}"
        elif value.lower() in ("1", "true", "yes", "on"):
            yield SOURCES[name]


def is_successful(*command: str) -> bool:
    """Run a command that shows its output, and return whether it succeeded."""
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0


def pip_install(*options: str) -> bool:
    """Install into .venv with pip, and return whether it succeeded."""
    return is_successful(*PIP, "--python", sys.executable, "install", f"--constraint={CONSTRAINTS}", *options)


def uv_install(*options: str) -> bool:
    """Install into .venv with uv from pip's sources, and return whether it succeeded."""
    configuration = subprocess.run([*PIP, "config", "list"], stdout=subprocess.PIPE, text=True, check=False)
    return is_successful(
        *(*PYTHON, "uv", "pip", "install", f"--python={sys.executable}", f"--constraints={CONSTRAINTS}"),
        "--index-strategy=unsafe-best-match",  # as pip does: the newest version, whichever index has it
        *uv_options(configuration.stdout),
        *options,
    )


def main() -> None:
    """Install, and compile what is imported often.

    A file in .venv tells of an installation that was interrupted. Then all packages are installed
    again, because those whose files were copied in part look as if they were installed.
    """
    os.environ.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore", PYTHONUNBUFFERED="1")
    unfinished, listed = ENVIRONMENT / "unfinished", ENVIRONMENT / "requirements.txt"
    was_interrupted = unfinished.exists()
    unfinished.touch()
    listed.write_text("\n".join(requirements(sys.argv[1:])) + "\n")
    has_uv = not was_interrupted and importlib.util.find_spec("uv") is not None
    if not (
        (has_uv or pip_install("--only-binary=uv", *["--force-reinstall"] * was_interrupted, "uv"))
        and uv_install(f"--requirements={listed}", *["--reinstall"] * was_interrupted)
    ):
        print(
            "exchange: uv could not install the packages. pip tries now, which takes longer.", file=sys.stderr
        )
        options = ("--no-compile", "--prefer-binary", *["--force-reinstall"] * was_interrupted)
        if not pip_install(f"--requirement={listed}", *options):
            sys.exit(
                "exchange: the packages can't be installed: see above. If no package index can be reached, check"
                " the network, a proxy, or pip's index (PIP_INDEX_URL). Then run the same command again."
            )
    unfinished.unlink()
    print("Compiling the packages.", file=sys.stderr)
    # A file that fails here is compiled, or reported, when it is imported.
    is_successful(
        *PYTHON, "compileall", "-q", "-j0", "-x", f"/({RARELY_IMPORTED})/", str(ENVIRONMENT / "lib")
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("exchange: interrupted. The next start installs all packages again.")
