"""The admin behind a proxy that ends TLS and sends X-Forwarded-Proto."""

from collections.abc import Iterator

import httpx
import pytest

from tests.admin.browser import TOKEN
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import RunningExchange

PROXIED = {"X-Forwarded-Proto": "https", "Host": "exchange.example", "Origin": "https://exchange.example"}


@pytest.fixture(scope="module", params=["on", pytest.param("off", marks=pytest.mark.long)])
def login(request: pytest.FixtureRequest) -> Iterator[tuple[str, httpx.Response, httpx.Response]]:
    """EXCHANGE_TLS_PROXY, the login page, and the answer to its form with a wrong password."""
    variables = {"EXCHANGE_TLS_PROXY": request.param, "EXCHANGE_ALLOWED_HOSTS": "exchange.example"}
    # If EXCHANGE_TLS_PROXY is on, a proxy on this machine is trusted without this variable.
    if request.param == "off":
        variables["EXCHANGE_TRUSTED_PROXIES"] = "127.0.0.1"
    with (
        RunningExchange(variables=variables) as exchange,
        httpx.Client(base_url=exchange.url, timeout=PATIENCE_SECONDS) as http,
    ):
        page = http.get("/admin/login/", headers=PROXIED)
        token = TOKEN.search(page.text)
        assert token is not None
        form = {"username": "nobody", "password": "wrong", "csrfmiddlewaretoken": token[1]}
        # The connection behind the proxy is plain HTTP. The client's cookie jar would not send
        # a secure cookie over it.
        cookie = {"Cookie": f"csrftoken={page.cookies['csrftoken']}"}
        http.cookies.clear()
        yield request.param, page, http.post("/admin/login/", data=form, headers={**PROXIED, **cookie})


def test_cookies_are_secure_only_if_the_variable_is_on(
    login: tuple[str, httpx.Response, httpx.Response],
) -> None:
    switch, page, _ = login
    assert ("secure" in page.headers["set-cookie"].lower()) == (switch == "on")


def test_forms_are_accepted_from_the_proxys_origin(login: tuple[str, httpx.Response, httpx.Response]) -> None:
    _, _, answer = login
    assert answer.status_code == 200
    assert "Please enter the correct username and password" in answer.text
