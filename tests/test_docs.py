"""The documents match the code: their examples work, they describe everything, and links resolve.

The README's session is run on a real exchange, command by command, and must print the README's
output. Times, and values that depend on them, are masked. Ids differ, but an id that the README
repeats must be repeated at the same places. An ellipsis in the README stands for any text within a
line.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.urls import URLPattern, URLResolver, get_resolver

from exchange_site.environment import Environment
from tests.simulation.controls import CONTROLS
from tests.system.exchange import ROOT, RunningExchange, wait_until

README = ROOT / "README.md"
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
MASKS = [
    (re.compile(r"\d{4}-\d{2}-\d{2}T[\d:.]+Z"), "<time>"),
    (re.compile(r"^(date): .*$", re.MULTILINE | re.IGNORECASE), r"\1: <date>"),
    (re.compile(r"^(ratelimit-(?:remaining|reset)): \d+$", re.MULTILINE | re.IGNORECASE), r"\1: <number>"),
]


def readme_block(name: str) -> str:
    """Return the code block in the README after the comment with that name."""
    match = re.search(rf"<!-- {name} -->\n+```\w+\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert match is not None, f"README.md has no block marked {name}"
    return match[1]


def is_whole(command: str) -> bool:
    """Return whether the command leaves no quotation open."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def session() -> list[tuple[str, str]]:
    """Return the commands of the README's session, each with the output shown below it."""
    steps: list[tuple[str, str]] = []
    for part in re.split(r"^\$ ", readme_block("session"), flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        end = next(count for count in range(1, len(lines) + 1) if is_whole("\n".join(lines[:count])))
        steps.append(("\n".join(lines[:end]), "\n".join(lines[end:]).strip()))
    return steps


def masked(text: str) -> str:
    """Return the text without times. Headers, if there are some, are sorted and in lower case."""
    text = text.replace("\r", "").strip()
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    if not text.startswith("HTTP/"):
        return text
    head, _, body = text.partition("\n\n")
    status, *headers = head.lower().splitlines()
    return "\n".join([status, *sorted(headers), "", body])


def elided(real: str, shown: str) -> str:
    """Return `shown` if the real text differs only at its ellipses, otherwise the real text."""
    pattern = ".*?".join(re.escape(part) for part in shown.split("…"))
    return shown if re.fullmatch(pattern, real) else real


class Ids:
    """Maps ids of the README to ids of this run."""

    def __init__(self) -> None:
        self.real: dict[str, str] = {}

    def translate(self, text: str) -> str:
        """Return a text of the README with the ids of this run, as far as they are known."""
        return UUID.sub(lambda match: self.real.get(match[0], match[0]), text)

    def learn(self, shown: str, real: str) -> None:
        for known, new in zip(UUID.findall(shown), UUID.findall(real), strict=False):
            self.real.setdefault(known, new)


def with_address_of(text: str, exchange: RunningExchange) -> str:
    return text.replace("localhost:8000", f"127.0.0.1:{exchange.port}")


@pytest.fixture(scope="module")
def fresh_exchange() -> Iterator[RunningExchange]:
    """An empty exchange with the default limits, as a new user has it."""
    with RunningExchange(variables={"EXCHANGE_RATE_LIMIT": "100/min"}) as exchange:
        yield exchange


@pytest.fixture
def stream_lines(fresh_exchange: RunningExchange, tmp_path: Path) -> Iterator[Path]:
    """Run the README's WebSocket client, and give the file with its output."""
    program, printed = tmp_path / "stream.py", tmp_path / "printed"
    program.write_text(with_address_of(readme_block("stream client"), fresh_exchange))
    with printed.open("wb") as output:
        client = subprocess.Popen(
            [sys.executable, "-u", str(program)], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        snapshots = ("orderbook_snapshot", "orders_snapshot")
        wait_until(lambda: all(name in printed.read_text() for name in snapshots), "the stream's snapshots")
        yield printed
    finally:
        client.kill()
        client.wait()


def test_the_readmes_session_prints_what_the_readme_shows(
    fresh_exchange: RunningExchange, stream_lines: Path
) -> None:
    ids = Ids()
    for command, shown in session():
        outcome = subprocess.run(
            ["bash", "-c", with_address_of(ids.translate(command), fresh_exchange)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stderr
        ids.learn(shown, outcome.stdout)
        expected = masked(ids.translate(shown))
        assert elided(masked(outcome.stdout), expected) == expected, command

    shown = readme_block("stream output")
    lines = len(shown.splitlines())

    def printed() -> list[str]:
        return [line for line in stream_lines.read_text().splitlines() if "heartbeat" not in line]

    wait_until(lambda: len(printed()) >= lines, f"{lines} messages of the stream")
    real = "\n".join(printed())
    ids.learn(shown, real)
    expected = masked(ids.translate(shown))
    assert elided(masked(real), expected) == expected


# --- everything is described ------------------------------------------------------------------------


def routes() -> set[str]:
    """Return every path of the API as the documents write it."""
    found = {"/stream"}

    def collect(patterns: list[URLPattern | URLResolver]) -> None:
        for pattern in patterns:
            text = str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                found.add(f"/{text.rstrip('/')}")
                continue
            text = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", text)
            found.add("/" + text.strip("^$").removesuffix("/?"))

    collect(get_resolver().url_patterns)
    return found


@pytest.mark.parametrize("route", sorted(routes()))
def test_every_endpoint_is_described(route: str) -> None:
    described = (ROOT / "docs/api.md").read_text()
    assert re.search(rf"{re.escape(route)}/?(?![\w/])", described), f"docs/api.md does not describe {route}"


@pytest.mark.parametrize("name", sorted(Environment.__struct_fields__))
def test_every_variable_is_described_with_its_default(name: str) -> None:
    operations = (ROOT / "docs/operations.md").read_text()
    row = re.search(rf"^\| `{name.upper()}` \|([^|]*)\|", operations, flags=re.MULTILINE)
    assert row is not None, f"docs/operations.md has no row for {name.upper()}"
    default = getattr(Environment(), name)
    if default is not None:
        assert f"`{default}`" in row[1]


@pytest.mark.parametrize(
    "command",
    sorted(
        name
        for name, app in get_commands().items()
        if app in ("instruments", "matching", "hosting", "operators", "exchange_site")
    ),
)
def test_every_command_is_described(command: str) -> None:
    assert f"`{command}`" in (ROOT / "docs/operations.md").read_text()


def test_every_metric_is_described() -> None:
    sources = [path.read_text() for path in ROOT.glob("[!.]*/**/*metrics*.py")]
    names = set(re.findall(r'"(exchange_[a-z_]+)"', "".join(sources)))
    operations = (ROOT / "docs/operations.md").read_text()
    assert len(names) >= 30
    assert {name for name in names if f"`{name}" not in operations} == set()


def test_every_control_of_the_simulation_is_described() -> None:
    _, _, section = (ROOT / "docs/reliability.md").read_text().partition("| found at seed |\n")
    rows = re.findall(r"^\| (.*) \| \d+ \|$", section.partition("\n\n")[0], flags=re.MULTILINE)
    assert rows == [control.name for control in CONTROLS]


def test_the_documents_name_no_unknown_variable() -> None:
    known = {name.upper() for name in Environment.__struct_fields__}
    for document in DOCUMENTS:
        named = set(re.findall(r"\b(?:EXCHANGE|DJANGO)_[A-Z_]+\b", document.read_text()))
        assert named - known - {"DJANGO_SETTINGS_MODULE"} == set(), document.name


# --- links -------------------------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    """Return the anchors that a Markdown viewer gives to the headings."""
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    pictures = re.findall(r'<(?:img|source) [^>]*(?:src|srcset)="([^"]+)"', text)
    for target in [*re.findall(r"\]\(([^)\s]+)\)", text), *pictures]:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{document.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{document.name}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_named_in_documents_exist(document: Path) -> None:
    """The names are paths in code quotes, such as `matching/worker/worker.py`."""
    for named in re.findall(r"`([\w./-]+\.(?:py|lua|toml|txt|yml|md))`", document.read_text()):
        places = [ROOT / named, document.parent / named]
        assert any(place.exists() for place in places), f"{document.name}: {named}"


def test_make_has_each_listed_target_once() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r'^\t@echo "make ([a-z-]+) ', makefile, re.MULTILINE)
    assert {"run", "test", "check", "demo", "load-test"} <= set(targets)
    for target in targets:
        assert len(re.findall(rf"^{target}:", makefile, re.MULTILINE)) == 1, target
    assert "-m pytest" in recipe(makefile, "test")
    assert "manage.py serve" in recipe(makefile, "run")


def recipe(makefile: str, target: str) -> str:
    return makefile.partition(f"\n{target}:")[2].partition("\n\n")[0]
