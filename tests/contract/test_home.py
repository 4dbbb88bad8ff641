"""GET / and the files of the trading screen."""

import gzip
import json
import re

import pytest

from tests.contract.client import Answer, Client
from tests.contract.conftest import ON_UVICORN

pytestmark = ON_UVICORN

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
NAMED_FILE = re.compile(r'(?:href|src)="(/screen/[^"]+)"')
INLINE = re.compile(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=", re.IGNORECASE)
PAGE_BYTES_MAX = 150 * 1024  # Compressed, with script and style.


def get(client: Client, path: str, **headers: str) -> Answer:
    return client.send("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})


@pytest.mark.parametrize(
    "accept", [BROWSER, "text/html", "Text/HTML;charset=utf-8", "application/json, text/html;q=0.1"]
)
def test_a_browser_gets_the_screen(client: Client, accept: str) -> None:
    answer = get(client, "/", Accept=accept)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.text.startswith("<!doctype html>")
    assert "Accept" in answer.headers["Vary"]


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "text/*", "text/html;q=0", "text/html; q=0.000", "text/htmlx"]
)
def test_other_clients_get_a_list_of_what_is_here(client: Client, accept: str | None) -> None:
    answer = get(client, "/", **({} if accept is None else {"Accept": accept}))
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json["stream"] == "/stream"
    methods = {endpoint["path"]: endpoint["methods"] for endpoint in answer.json["endpoints"]}
    assert methods["/orders"] == ["GET", "POST"]
    documented = json.loads(client.get("/docs/schema", format="json").body)["paths"]
    assert methods == {
        path: sorted(method.upper() for method in operations) for path, operations in documented.items()
    }


def test_the_root_takes_no_parameters_and_no_other_methods(client: Client) -> None:
    assert client.get("/", theme="dark").refused_fields() == {"theme"}
    client.send("POST", "/").error(405, "method_not_allowed")
    head = client.send("HEAD", "/", headers={"Accept": BROWSER})
    assert (head.status, head.body) == (200, b"")


def screen_paths(client: Client) -> list[str]:
    return NAMED_FILE.findall(get(client, "/", Accept=BROWSER).text)


def test_the_page_allows_nothing_inline_and_nothing_foreign(client: Client) -> None:
    page = get(client, "/", Accept=BROWSER)
    policy = dict(rule.strip().split(" ", 1) for rule in page.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert not INLINE.search(page.text)
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Cache-Control"] == "no-cache"


def test_the_files_may_be_cached_for_ever_because_their_names_change(client: Client) -> None:
    paths = screen_paths(client)
    assert sorted(path.rpartition(".")[2] for path in paths) == ["css", "js"]
    for path in paths:
        assert re.search(r"-[0-9A-Z]{8}\.(css|js)$", path)
        answer = get(client, path)
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["Content-Type"].startswith(("text/css", "text/javascript"))


@pytest.mark.parametrize("coding", ["gzip", "deflate, GZIP;q=0.5", "*", "br;q=1.0, *;q=0.1"])
def test_files_are_compressed_for_clients_that_accept_it(client: Client, coding: str) -> None:
    for path in screen_paths(client):
        compressed = get(client, path, Accept_Encoding=coding)
        assert compressed.headers["Content-Encoding"] == "gzip"
        assert compressed.headers["Vary"] == "Accept-Encoding"
        assert gzip.decompress(compressed.body) == get(client, path).body


@pytest.mark.parametrize("coding", ["", "identity", "br", "gzip;q=0", "*;q=0", "gzip;q=0, *"])
def test_files_are_sent_as_they_are_to_other_clients(client: Client, coding: str) -> None:
    for path in screen_paths(client):
        assert "Content-Encoding" not in get(client, path, Accept_Encoding=coding).headers


def test_the_whole_page_is_small(client: Client) -> None:
    page = get(client, "/", Accept=BROWSER, Accept_Encoding="gzip")
    files = [get(client, path, Accept_Encoding="gzip") for path in screen_paths(client)]
    assert sum(len(answer.body) for answer in (page, *files)) <= PAGE_BYTES_MAX


@pytest.mark.parametrize(
    "name", ["index.html", "none.js", "..%2Ffiles.py", "%2e%2e/files.py", "files.py", "", "a/b"]
)
def test_only_files_that_were_built_are_served(client: Client, name: str) -> None:
    assert get(client, f"/screen/{name}").status == 404
