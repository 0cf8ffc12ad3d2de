"""The browser and the deck that the tests of the dashboard share: started once, in one worker."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

from e2e.browser_kit import MISSING, Deck, chromium, opened
from e2e.world_kit import World, world_at


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker: what is shared is started once."""
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("browser"))
            item.add_marker(pytest.mark.sandbox)
            item.add_marker(pytest.mark.embedded("what is drawn; what the dashboard is told is tested over both"))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """For these tests only: as long as it is there, no other test of this process can run an event loop."""
    path = chromium()
    if path is None:
        pytest.skip(MISSING)
    starting = sync_playwright()
    with _children_watched_by_threads():
        playwright = starting.start()
    browser = playwright.chromium.launch(executable_path=path)
    yield browser
    browser.close()
    playwright.stop()


@contextmanager
def _children_watched_by_threads() -> Iterator[None]:
    """Playwright's driver is started by an event loop of its own, beside the one of pytest's that watches children."""
    if sys.version_info >= (3, 12):
        yield
        return
    policy = asyncio.get_event_loop_policy()
    before = policy.get_child_watcher()
    policy.set_child_watcher(asyncio.ThreadedChildWatcher())
    try:
        yield
    finally:
        policy.set_child_watcher(before)


@pytest.fixture(scope="package")
def world(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_at(tmp_path_factory.mktemp("e2e")) as made:
        yield made


@pytest.fixture
def deck(browser: Browser, world: World) -> Iterator[Deck]:
    with opened(browser, world.url) as page:
        yield page
