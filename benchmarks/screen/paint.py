"""Measures how long the screen takes to open, and how large it is."""

import gzip
import re
import statistics
import urllib.request

from playwright.sync_api import Browser, BrowserContext

from benchmarks.screen.market import load_average, market
from benchmarks.screen.page import new_context
from loadtools.wire import Target

SIZE = {"width": 1440, "height": 900}
PAINTED_SECONDS_MAX = 60.0
FILES = re.compile(r'(?:href|src)="(/screen/[^"]+)"')
# A row is painted in the frame after the one in which it was drawn.
WATCH = """() => {
  const isDrawn = () => [...document.querySelectorAll('#ladder .ladder-side .ladder-row')]
    .some(row => row.style.visibility !== 'hidden' && row.textContent !== '');
  const observer = new MutationObserver(() => {
    if (isDrawn()) {
      observer.disconnect();
      requestAnimationFrame(() => requestAnimationFrame(() => {
        globalThis.bookPaintedAt = performance.now();
      }));
    }
  });
  observer.observe(document, {
    subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ['style'],
  });
}"""
_FIRST_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


def measure_paint(browser: Browser, *, loads: int, pinned: bool) -> bool:
    """Print the times of the first painted book, and the files' sizes. Return True: nothing is judged."""
    cold: list[tuple[float, float]] = []
    warm: list[tuple[float, float]] = []
    with market(pinned=pinned) as exchange:
        url = exchange.target.url
        for _ in range(loads):
            with new_context(browser, viewport=SIZE) as context:
                context.add_init_script(f"({WATCH})()")
                cold.append(_load(context, url))
                warm.append(_load(context, url))
        print(f"milliseconds from the navigation, medians of {loads} loads; load {load_average()}")
        print(f"{'cache':<6} {'first content':>13} {'first row of the book':>24} {'spread':>16}")
        for name, figures in (("cold", cold), ("warm", warm)):
            content, book = zip(*figures, strict=True)
            spread = f"{min(book):,.0f} to {max(book):,.0f}"
            print(
                f"{name:<6} {statistics.median(content):>13,.0f} {statistics.median(book):>24,.0f} {spread:>16}"
            )
        print_sizes(exchange.target)
    return True


def _load(context: BrowserContext, url: str) -> tuple[float, float]:
    """Open the screen. Return when its first content and the first row of its book were painted."""
    page = context.new_page()
    page.goto(url)
    painted = page.wait_for_function("() => globalThis.bookPaintedAt", timeout=PAINTED_SECONDS_MAX * 1_000)
    times = page.evaluate(_FIRST_PAINT), painted.json_value()
    page.close()
    return times


def print_sizes(target: Target) -> None:
    """Print the size of the page and its files, compressed as the exchange sends them."""
    page = _fetch(target, "/")
    sizes = {"/": (len(page), len(gzip.decompress(page)))}
    for path in FILES.findall(gzip.decompress(page).decode()):
        content = _fetch(target, path)
        sizes[path] = len(content), len(gzip.decompress(content))
    print(f"\n{'file':<34} {'gzipped bytes':>13} {'plain':>9}")
    for path, (gzipped, plain) in sizes.items():
        print(f"{path:<34} {gzipped:>13,} {plain:>9,}")
    total = [sum(each) for each in zip(*sizes.values(), strict=True)]
    print(f"{'together':<34} {total[0]:>13,} {total[1]:>9,}")


def _fetch(target: Target, path: str) -> bytes:
    """Return a file as it is sent to browsers: gzipped."""
    headers = {"Accept": "text/html, */*", "Accept-Encoding": "gzip"}
    with urllib.request.urlopen(urllib.request.Request(target.url + path, headers=headers)) as answer:
        content: bytes = answer.read()
    return content
