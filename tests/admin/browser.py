"""A minimal browser for the admin: one session, forms with their CSRF tokens, and messages."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import httpx

from tests.patience import PATIENCE_SECONDS

MESSAGE = re.compile(r'<li class="(success|info|warning|error)">(.*?)</li>', re.DOTALL)
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
SELECTABLE = re.compile(r'name="_selected_action" value="([^"]+)"')
INPUT = re.compile(r"<input[^>]*>")
LINK = re.compile(r'href="([^"]+)"')


class Page:
    """An HTML answer, with its messages, rows, links and form inputs."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.path = response.url.path
        self.text = html.unescape(response.text)

    @property
    def messages(self) -> dict[str, str]:
        """The texts of Django's messages, by level."""
        return {level: re.sub(r"<[^>]+>", "", text).strip() for level, text in MESSAGE.findall(self.text)}

    @property
    def rows(self) -> list[str]:
        """The primary keys of the rows that can be selected."""
        return SELECTABLE.findall(self.text)

    @property
    def links(self) -> list[str]:
        return LINK.findall(self.text)

    @property
    def editable(self) -> bool:
        return 'name="_save"' in self.text

    def inputs(self) -> dict[str, str]:
        """Return the names and values of the form's inputs."""
        found = {}
        for tag in INPUT.findall(self.text):
            name, value = re.search(r' name="([^"]*)"', tag), re.search(r' value="([^"]*)"', tag)
            if name and value:
                found[name[1]] = value[1]
        return found


class Browser:
    """One session, from an address of this machine. Paths are relative to /admin/.

    `extra_headers` are added to each request, for example X-Forwarded-For.
    """

    def __init__(self, url: str, *, address: str = "127.0.0.1") -> None:
        transport = httpx.HTTPTransport(local_address=address)
        self._http = httpx.Client(
            base_url=f"{url}/admin/", follow_redirects=True, timeout=PATIENCE_SECONDS, transport=transport
        )

    @property
    def extra_headers(self) -> Mapping[str, str]:
        return self._http.headers

    @extra_headers.setter
    def extra_headers(self, headers: Mapping[str, str]) -> None:
        self._http.headers.update(headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()

    @property
    def session_id(self) -> str:
        return self._http.cookies["sessionid"]

    def get(self, path: str, **query: Any) -> Page:
        return Page(self._http.get(path, params=query or None))

    def post(
        self, path: str, data: Mapping[str, Any], *, token_from: str | None = None, **query: Any
    ) -> Page:
        """Load the page, and send its form with its CSRF token, or with that of another page."""
        page = self.get(path, **query) if token_from is None else self.get(token_from)
        token = TOKEN.search(page.text)
        form = {**data, "csrfmiddlewaretoken": token[1] if token else ""}
        return Page(self._http.post(path, params=query or None, data=form))

    def log_in(self, name: str, password: str) -> Page:
        return self.post("login/", {"username": name, "password": password, "next": "/admin/"})

    def cancel(self, rows: Sequence[str], **query: Any) -> Page:
        """Cancel orders, and confirm it. Return the last page.

        If the admin shows no confirmation page, return the page that it shows instead.
        """
        path = "orders/order/"
        page = self.act(path, "cancel_selected", rows, **query)
        if 'name="confirm"' not in page.text:
            return page
        names = ("action", "_selected_action", "orders", "confirm", "note", "csrfmiddlewaretoken")
        form = {name: value for name, value in page.inputs().items() if name in names}
        return Page(self._http.post(path, params=query or None, data=form))

    def act(self, path: str, action: str, rows: Sequence[str], **query: Any) -> Page:
        """Run an action of a list page on some of its rows."""
        return self.post(path, {"action": action, "_selected_action": list(rows), "index": "0"}, **query)
