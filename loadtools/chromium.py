"""Opens the trading screen in a headless Chromium, for tests, measurements and pictures.

with chromium() as browser, browser.new_context() as context:
    page = context.new_page()

Playwright drives the browser. It needs the `dev` requirements, and Chromium itself, which is a
package of the system: `apt install chromium`.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
MISSING = "needs Chromium (on Debian: apt install chromium)"
# Root may not use Chromium's sandbox. The pages that are opened here are our own.
OPTIONS = ("--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars")


def chromium_path() -> str | None:
    """Return the path of an installed Chromium, or None."""
    return next((path for path in map(shutil.which, PROGRAMS) if path is not None), None)


@contextmanager
def chromium(*options: str) -> Iterator[Browser]:
    """Start Chromium, and end it after the block. `options` are of its command line.

    Raises LookupError if it is not installed.
    """
    path = chromium_path()
    if path is None:
        raise LookupError(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*OPTIONS, *options])
        try:
            yield browser
        finally:
            browser.close()
