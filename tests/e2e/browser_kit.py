"""A real browser before the real dashboard: how a page is opened, waited for, drawn and judged.

Rules
- A page that a test opened has to end clean: no script of an agent ran in it, nothing was logged as an error, nothing
  was fetched from anywhere but the deck.
- Waiting is for what a person would see, never for time.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING: Final = (
    "no Chromium: the dashboard is not tested in a browser (Debian and Ubuntu: apt-get install chromium; `make test` "
    "does that by itself when it runs as root)"
)
SCREENS: Final = Path(__file__).resolve().parents[2] / "build" / "screens"
THEMES: Final = ("dark", "light")
WIDE: Final = {"width": 1440, "height": 900}
PATIENCE: Final = 60_000
"""Milliseconds that anything may take to appear: the machine may be busy."""

expect.set_options(timeout=PATIENCE)


def chromium() -> str | None:
    """Path of a browser, None where there is none."""
    return next((found for name in CHROMIUMS if (found := shutil.which(name))), None)


def axe() -> str:
    """The source of axe-core."""
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


@dataclass
class Seen:
    """What went on behind a page."""

    errors: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What the browser itself says of orders for a version that is not the newest: the page sends them again."""
    elsewhere: list[str] = field(default_factory=list)


@dataclass
class Deck:
    """The dashboard of one server in one page."""

    page: Page
    url: str
    seen: Seen

    def go(self, place: str, heading: str | re.Pattern[str] = "") -> None:
        """Open a place by its address (`now`, `run/ID`) and wait until it is drawn and live."""
        self.page.goto(f"{self.url}/#/{place}")
        if heading:
            expect(self.page.get_by_role("heading", level=1, name=heading)).to_be_visible()
        self.live()

    def live(self) -> None:
        """The stream has brought something."""
        expect(self.page.locator(".rail").get_by_text("Live", exact=True)).to_be_visible()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        """Type into the field that has the focus, as soon as one has it."""
        expect(self.page.locator("input:focus, textarea:focus")).to_have_count(1)
        self.page.keyboard.type(text)

    def asked(self) -> Locator:
        """The dialog, as soon as keys go to it."""
        dialog = self.page.get_by_role("dialog")
        expect(dialog.locator(":focus")).to_have_count(1)
        return dialog

    def text(self, selector: str) -> str:
        return " ".join(self.page.locator(selector).first.inner_text().split())

    def main(self) -> str:
        """Everything that is written on the screen."""
        return self.text("main")

    def theme(self, name: str) -> None:
        """Light or dark, as the person's system says it."""
        self.page.emulate_media(color_scheme="dark" if name == "dark" else "light")

    def draw(self, name: str) -> Path:
        """A picture of what is seen, in build/screens."""
        SCREENS.mkdir(parents=True, exist_ok=True)
        path = SCREENS / f"{name}.png"
        self.page.screenshot(path=path, animations="disabled")
        return path

    def violations(self) -> list[str]:
        """What axe finds, each with the first place where it is."""
        if not self.page.evaluate("typeof window.axe === 'object'"):
            self.page.evaluate(axe())
        found: list[dict[str, Any]] = self.page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(told => told.violations)"
        )
        return [
            f"{one['id']} ({one['impact']}): {one['help']}: {one['nodes'][0]['html'][:200]}: "
            f"{one['nodes'][0].get('failureSummary', '')[:300]}"
            for one in found
        ]

    def too_wide(self) -> int:
        """By how many pixels the page can be scrolled sideways."""
        return int(self.page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"))


@contextmanager
def opened(browser: Browser, url: str, *, theme: str = "dark", size: dict[str, int] | None = None) -> Iterator[Deck]:
    """A fresh page, as somebody who was never here would get it. It has to end clean."""
    context = browser.new_context(
        viewport=size or WIDE,  # type: ignore[arg-type]  # a ViewportSize is such a dict
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE)
    page, seen = context.new_page(), Seen()

    def said(message: ConsoleMessage) -> None:
        if message.type == "error":
            stale = "status of 412" in message.text
            (seen.refused if stale else seen.errors).append(message.text[:500])

    def asked(request: Request) -> None:
        if not request.url.startswith((f"{url}/", "data:", "blob:")):
            seen.elsewhere.append(request.url)

    page.on("console", said)
    page.on("pageerror", lambda error: seen.errors.append(str(error)[:500]))
    page.on("request", asked)
    try:
        yield Deck(page, url, seen)
        assert page.evaluate("window.__ran ?? null") is None, "a script of an agent ran"
        assert seen.errors == [], f"the page said: {seen.errors}"
        assert seen.elsewhere == [], "the dashboard is served by the deck alone"
    finally:
        context.close()


def until(page: Page, check: Callable[[], bool], what: str) -> None:
    """Wait for something that no element of the page shows."""
    for _ in range(PATIENCE // 100):
        if check():
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"it did not come: {what}")
