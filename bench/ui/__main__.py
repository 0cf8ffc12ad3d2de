"""What the dashboard costs a person and a browser: a million records, a thousand agents, a thousand records a second.

usage: python -m bench.ui [--records N --agents N --rate N --seconds N]      (the store is made once: minutes)

Rules
- Everything is the shipped product: `quarterdeck up` in a process of its own, the built dashboard, a store that the
  journal wrote (`bench/ui/fill.py`), records that another process adds meanwhile (`bench/ui/flow.py`).
- The browser is Debian's Chromium, headless, without a graphics card. What is measured is the browser's own account:
  its paint timing, its tasks on the main thread; an update counts from the moment at which the server made it (`at`
  in the delta) to the next frame that could show it.
- A browser and a server share this machine with whatever else runs on it; its load is printed with the figures.
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Self
from urllib.request import urlopen

from playwright.sync_api import Browser, Page, sync_playwright

from bench.__main__ import machine
from bench.figures import Figure, Target, show
from bench.ui.fill import AGENTS, FILLED, RECORDS, SPANS

ROOT: Final = Path(__file__).resolve().parents[2]
RESULT: Final = ROOT / "build" / "bench-ui.json"
BASE: Final = ROOT / "build" / "bench-ui" / "base"
"""The history, kept."""
HOME: Final = ROOT / "build" / "bench-ui" / "home"
CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SCREENS: Final = ("now", "inbox", "fleet", "run", "integrate", "cost", "audit")
LOADS: Final = 7
OPENS: Final = 5
WARM: Final = 3.0
"""Seconds after a load that do not count."""

WATCH: Final = """
(() => {
  window.__updates = [];
  const real = window.fetch;
  window.fetch = async (url, init) => {
    const answer = await real(url, init);
    if (!String(url).includes('api/v1/stream') || !answer.body) return answer;
    const text = new TextDecoder();
    let rest = '';
    const spy = new TransformStream({
      transform(piece, control) {
        const parts = (rest + text.decode(piece, {stream: true})).split('\\n\\n');
        rest = parts.pop().slice(0, 1 << 22);
        for (const part of parts) {
          const found = /event: (delta|snapshot)[\\s\\S]*?"at":([0-9.]+)/.exec(part.slice(0, 300));
          if (!found) continue;
          const at = Number(found[2]) * 1000;
          requestAnimationFrame(() => setTimeout(() => {
            window.__updates.push(performance.timeOrigin + performance.now() - at);
          }, 0));
        }
        control.enqueue(piece);
      },
    });
    return new Response(answer.body.pipeThrough(spy), {status: answer.status, headers: answer.headers});
  };
})();
"""
"""Notes for each delta how long after the server made it the next frame was there. Only what measures; the page gets
every byte as it came."""


@dataclass(frozen=True, slots=True)
class Size:
    records: int
    agents: int
    rate: int
    seconds: float
    spans: int


def fill(size: Size) -> dict[str, Any]:
    """The history, made where it is not there yet, copied for this time; what it holds."""
    known = BASE / FILLED
    if not known.is_file():
        print(f"Writing {size.records} records into {BASE.relative_to(ROOT)}…", file=sys.stderr)
        shutil.rmtree(BASE, ignore_errors=True)
        options = ("--records", str(size.records), "--spans", str(size.spans))
        subprocess.run([sys.executable, "-m", "bench.ui.fill", str(BASE), *options], cwd=ROOT, check=True)
    shutil.rmtree(HOME, ignore_errors=True)
    shutil.copytree(BASE, HOME)
    found: dict[str, Any] = json.loads(known.read_text())
    return found


@contextmanager
def serving() -> Iterator[str]:
    """The server; its address."""
    command = [sys.executable, "-m", "quarterdeck.cli.main", "up", "--port", "0", "--json"]
    environment = {**os.environ, "QUARTERDECK_HOME": str(HOME)}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as up,
    ):
        assert up.stdout is not None
        try:
            yield str(json.loads(up.stdout.readline())["url"])
        finally:
            up.terminate()
            try:
                up.wait(30)
            except subprocess.TimeoutExpired:
                up.kill()


class Flow:
    """The agents' records, from a process of its own."""

    def __init__(self, size: Size) -> None:
        options = ("--agents", str(size.agents), "--rate", str(size.rate))
        command = [sys.executable, "-m", "bench.ui.flow", str(HOME), *options]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def end(self) -> dict[str, float]:
        """How many there were, and how many a second."""
        out, _ = self._process.communicate("", timeout=60)
        told: dict[str, float] = json.loads(out)
        return told


def live(page: Page) -> None:
    """Wait until the stream has brought everything."""
    page.locator(".rail").get_by_text("Live", exact=True).wait_for(timeout=60_000)


def first_paints(browser: Browser, url: str) -> list[float]:
    """First contentful paint of fresh loads, without a cache, in milliseconds."""
    found = []
    for _ in range(LOADS):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(f"{url}/#/now")
        live(page)
        found.append(float(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")))
        context.close()
    return found


def updates(browser: Browser, url: str, seconds: float) -> list[float]:
    """Milliseconds from the server's tick to the frame that could show it, over `seconds` on Fleet."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(f"{url}/#/fleet")
    live(page)
    page.wait_for_timeout(WARM * 1000)
    page.evaluate("window.__updates.length = 0")
    page.wait_for_timeout(seconds * 1000)
    found: list[float] = page.evaluate("window.__updates")
    context.close()
    return found


def busy(browser: Browser, url: str, seconds: float) -> float:
    """The share of the time that the page's main thread worked, over `seconds` on Fleet, with nothing in between."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{url}/#/fleet")
    live(page)
    page.wait_for_timeout(WARM * 1000)
    session = context.new_cdp_session(page)
    session.send("Performance.enable")

    def worked() -> tuple[float, float]:
        told = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return told["TaskDuration"], told["Timestamp"]

    before, began = worked()
    page.wait_for_timeout(seconds * 1000)
    after, ended = worked()
    context.close()
    return (after - before) / (ended - began)


def opened(browser: Browser, url: str, run: str) -> list[float]:
    """Milliseconds from going to a run until its timeline is drawn."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{url}/#/run")
    live(page)
    found = []
    for _ in range(OPENS):
        spent = page.evaluate(
            """run => new Promise((done, fail) => {
              const began = performance.now();
              setTimeout(() => fail(new Error('the run did not open within 30 s')), 30000);
              const look = () => {
                const lanes = document.querySelector('.lanes-frame, .lanes');
                if (lanes && lanes.getBoundingClientRect().height > 40) {
                  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began), 0));
                } else requestAnimationFrame(look);
              };
              location.hash = `#/run/${run}`;
              look();
            })""",
            run,
        )
        found.append(float(spent))
        page.evaluate("location.hash = '#/now'")
        page.get_by_role("heading", level=1, name="Now").wait_for()
    context.close()
    return found


def loaded(browser: Browser, url: str) -> dict[str, int]:
    """Bytes, gzipped, of everything that a browser has after it opened a screen; by screen."""
    found = {}
    for screen in SCREENS:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{url}/#/{screen}")
        live(page)
        page.wait_for_timeout(500)
        names = page.evaluate("performance.getEntriesByType('resource').map(one => one.name)")
        own = {name for name in names if name.startswith(f"{url}/") and "/api/" not in name} | {f"{url}/"}
        total = 0
        for name in own:
            with urlopen(name) as answer:
                total += len(gzip.compress(answer.read(), 9))
        found[screen] = total
        context.close()
    return found


def violations(browser: Browser, url: str) -> list[str]:
    """What axe finds on the screens of the full deck, in both themes."""
    source = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    found = []
    for theme in ("dark", "light"):
        context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
        page = context.new_page()
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        for screen in SCREENS:
            page.goto(f"{url}/#/{screen}")
            live(page)
            page.wait_for_timeout(500)
            page.evaluate(source)
            told = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(told => told.violations)")
            found += [f"{theme} {screen} {one['id']}" for one in told]
        context.close()
    return found


def p95(values: list[float]) -> float:
    """The 95th percentile. Raises SystemExit where there is none."""
    if len(values) < 20:
        raise SystemExit(f"only {len(values)} updates came")
    return statistics.quantiles(values, n=20)[-1]


def figures(browser: Browser, url: str, size: Size, made: dict[str, Any], flow: Flow) -> list[Figure]:
    bytes_ = loaded(browser, url)
    screen = max(bytes_, key=lambda name: bytes_[name])
    paints = first_paints(browser, url)
    waits = updates(browser, url, size.seconds)
    share = busy(browser, url, size.seconds)
    opens = opened(browser, url, str(made["big"]))
    axe = violations(browser, url)
    told = flow.end()
    load = f"{size.agents} agents, {told['rate']:g} records/s, {made['records']} records in the store"

    def figure(name: str, unit: str, ours: float, most: float, note: str) -> Figure:
        return Figure(name=name, unit=unit, ours=round(ours, 1), target=Target("ours", most), note=note)

    return [
        figure("first contentful paint, median", "ms", statistics.median(paints), 500, f"{len(paints)} loads; {load}"),
        figure(
            "update after the tick, p95",
            "ms",
            p95(waits),
            100,
            f"{len(waits)} updates, median {statistics.median(waits):.0f}; {load}",
        ),
        figure("main thread", "%", share * 100, 10, f"Fleet, {size.seconds:g} s; {load}"),
        figure("loaded for a screen, gzipped", "KB", bytes_[screen] / 1000, 60, f"most: {screen}; {bytes_}"),
        figure(
            f"a run of {made['spans']} spans opens, median",
            "ms",
            statistics.median(opens),
            1000,
            f"{len(opens)} times; {load}",
        ),
        figure("axe violations", "", len(axe), 0, ", ".join(axe[:5]) or "7 screens, both themes, the full deck"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--agents", type=int, default=AGENTS)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--spans", type=int, default=SPANS)
    size = Size(**vars(parser.parse_args()))
    path = next((place for name in CHROMIUMS if (place := shutil.which(name))), None)
    if path is None:
        print("no Chromium: Debian and Ubuntu: apt-get install chromium", file=sys.stderr)
        return 1
    print(machine(), file=sys.stderr)
    made = fill(size)
    with ExitStack() as stack:
        flow = stack.enter_context(Flow(size))
        url = stack.enter_context(serving())
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=path)
        stack.callback(browser.close)
        found = figures(browser, url, size, made, flow)
    show(found)
    RESULT.parent.mkdir(exist_ok=True)
    rows = [{**each.as_json(), "bench": "ui"} for each in found]
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"Written to {RESULT.relative_to(ROOT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
