"""What `doctor` looks at: everything that can be wrong with this machine before a run, each with its fix.

Rules
- Looking changes nothing. What takes a real try (the sandbox) is really tried.
- A deck that cannot be opened is one of the problems; what can be looked at without it is looked at all the same.
"""

import os
import platform
import shutil
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from quarterdeck.assembly import clis
from quarterdeck.assembly.colleagues import lacking, remedy, working
from quarterdeck.assembly.fleet import addresses
from quarterdeck.assembly.ordering import check_priced
from quarterdeck.assembly.parts import Parts
from quarterdeck.assembly.timing import WRONG
from quarterdeck.delivery.order import Check
from quarterdeck.kernel.clock import CopiedClock
from quarterdeck.kernel.config import DeckConfig, ModelSection, RunConfig
from quarterdeck.kernel.failures import BadConfiguration, QuarterdeckError
from quarterdeck.kernel.price_list import DATED
from quarterdeck.kernel.prices import OLD, age
from quarterdeck.models.factory import key_source
from quarterdeck.models.providers import PROVIDERS
from quarterdeck.settings import DECK_FILE, Settings, operator_config, operator_outside, read_secret
from quarterdeck.triggers.checking import flaw_of
from quarterdeck.triggers.port import trigger_wanted
from quarterdeck.workplace.git import Git

_MIN_GIT = (2, 38)  # merge-tree --write-tree
_LOW_DISK = 1024**3


async def probe(parts: Parts) -> list[Check]:
    """All checks, the most important first."""
    found = [
        await _git(),
        *await _sandboxes(parts),
        _disk(parts),
        await _store(parts),
        *await _link(parts),
        _clock(parts),
    ]
    found += [*await _workers(parts), *await _triggers(parts)]
    return [*found, *_keys(parts), _prices(parts), *clis.checks(await clis.known(parts.settings))]


async def probe_unopened(settings: Settings, error: QuarterdeckError) -> list[Check]:
    """The checks of a machine on which the deck cannot be opened, with why not."""
    place = next(place for place in (settings.home, *settings.home.parents) if place.is_dir())
    return [await _git(), _room(place), Check(name="deck", ok=False, detail=str(error), fix=error.fix)]


async def _git() -> Check:
    if shutil.which("git") is None:
        return Check(name="git", ok=False, detail="not found", fix="install git 2.38 or newer")
    version = await Git().text("--version")
    numbers = tuple(int(part) for part in version.split()[2].split(".")[:2] if part.isdigit())
    ok = numbers >= _MIN_GIT
    return Check(name="git", ok=ok, detail=version, fix="" if ok else "install git 2.38 or newer")


async def _sandboxes(parts: Parts) -> list[Check]:
    if sys.platform != "linux":
        detail = f"no sandbox on {platform.system()} yet: only --sandbox none, which isolates nothing"
        return [Check(name="sandbox", ok=False, detail=detail, fix="use Linux, or --sandbox none", level="warning")]
    probe = await parts.providers["bubblewrap"].probe(anew=True)
    checks = [Check(name="sandbox", ok=probe.ok, detail=probe.detail, fix="" if probe.ok else probe.fix)]
    checks += [Check(name="sandbox", ok=False, detail=text, level="info") for text in probe.warnings]
    return checks


def _disk(parts: Parts) -> Check:
    return _room(parts.settings.home, parts.ground.root)


def _room(*places: Path) -> Check:
    free = min(shutil.disk_usage(place).free for place in places)
    ok = free >= _LOW_DISK
    detail = f"{free / 1024**3:.1f} GiB free for {' and '.join(map(str, places))}"
    return Check(name="disk", ok=ok, detail=detail, fix="" if ok else "free at least 1 GiB", level="warning")


async def _store(parts: Parts) -> Check:
    runs = await parts.views.runs()
    unfinished = sum(not run.status.finished for run in runs)
    broken = len(await parts.engine.failed())
    detail = f"{parts.store.where}: {len(runs)} runs, {unfinished} unfinished"
    if broken:
        return Check(
            name="store",
            ok=False,
            detail=f"{detail}; {broken} jobs ended with a bug of ours",
            fix="quarterdeck ps, then quarterdeck resume RUN; please report the trace in the logs",
            level="warning",
        )
    return Check(name="store", ok=True, detail=detail)


async def _link(parts: Parts) -> list[Check]:
    if parts.store.dialect != "postgres":
        return []
    return [readable(bool(row["ssl"]), bool(row["here"])) for row in await parts.store.read("session_link")]


def readable(encrypted: bool, here: bool) -> Check:
    """Whether others can read what goes to the database. `here`: it stays on this machine. Pure."""
    if encrypted or here:
        how = "is encrypted" if encrypted else "stays on this machine"
        return Check(name="link", ok=True, detail=f"what goes to the database {how}")
    return Check(
        name="link",
        ok=False,
        detail="the database is on another machine, and what goes there is not encrypted",
        fix="?sslmode=verify-full at the end of QUARTERDECK_DATABASE_URL",
        level="warning",
    )


def _clock(parts: Parts) -> Check:
    # A file written now must not be dated in another hour: shared homes and stepped clocks show here.
    mark = parts.settings.logs / f".clock-{os.getpid()}"
    mark.touch()
    try:
        skew = abs(mark.stat().st_mtime - time.time())
    finally:
        mark.unlink(missing_ok=True)
    ok = skew < 5 and time.time() > 1_700_000_000
    return Check(
        name="clock", ok=ok, detail=f"{skew:.1f} s off the file system", fix="" if ok else "set the clock (NTP)"
    )


async def _workers(parts: Parts) -> list[Check]:
    """On many machines: who is there, and what waits for somebody who is not."""
    if parts.settings.database_url is None:
        return []
    checks = [
        Check(name="workers", ok=False, detail=lacking(what), fix=remedy(what), level="warning")
        for what in await parts.engine.untaken()
    ]
    clock = parts.clock
    if isinstance(clock, CopiedClock) and abs(clock.ahead) > WRONG:
        detail = f"{clock.ahead:+.0f} s off the database's, by which everything is decided"
        checks.append(Check(name="clock", ok=False, detail=detail, fix="set the clock (NTP)", level="warning"))
    if not await parts.engine.attended():
        fix = "quarterdeck worker, or quarterdeck up"
        checks.append(Check(name="workers", ok=False, detail="none is alive", fix=fix, level="info"))
    return checks or [Check(name="workers", ok=True, detail=", ".join(map(working, await parts.engine.workers())))]


async def _triggers(parts: Parts) -> list[Check]:
    """What keeps a trigger, a result or a message from its way; nothing where none is configured."""
    config = operator_outside(parts.settings.home)
    checks: list[Check] = []
    for name, section in config.triggers.items():
        if flaw := flaw_of(section):
            fix = f"correct [triggers.{name}] in {parts.settings.home / DECK_FILE}, or set the variable it names"
            checks.append(Check(name="triggers", ok=False, detail=f"{name}: {flaw}", fix=fix, level="warning"))
    token = config.github.token_env
    if any(section.remote for section in config.triggers.values()) and not read_secret(token):
        fix = f"export {token}=…"
        detail = f"{token} is not set: no repository of the GitHub server can be used"
        checks.append(Check(name="triggers", ok=False, detail=detail, fix=fix, level="warning"))
    if config.notify.url and not read_secret(config.notify.secret_env or ""):
        detail = f"[notify]: {config.notify.secret_env} is not set, so nobody is told what needs a person"
        checks.append(
            Check(name="notify", ok=False, detail=detail, fix=f"export {config.notify.secret_env}=…", level="warning")
        )
    idle = [name for name in sorted(config.triggers) if not await parts.engine.attended(trigger_wanted(name))]
    if idle:
        detail = f"nothing serves the deck with {', '.join(idle)} in its file, so no such trigger fires"
        if parts.settings.database_url is None:
            detail = "nothing serves the deck, so no trigger fires"
        checks.append(Check(name="triggers", ok=False, detail=detail, fix="quarterdeck up", level="info"))
    elif config.triggers and not checks:
        checks.append(Check(name="triggers", ok=True, detail=", ".join(sorted(config.triggers))))
    return checks


def _keys(parts: Parts) -> list[Check]:
    have = parts.settings.keys
    missing = [name for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY") if name not in have]
    detail = ", ".join(sorted(have)) or "none set; agents of the command harness need none"
    config = operator_config(parts.settings.home).config
    return [
        Check(
            name="keys",
            ok=bool(have),
            detail=detail,
            fix="" if have else f"export {missing[0]}=…",
            level="info",
        ),
        *keys_of_models(config.models, addresses(parts.settings), have),
        *_tiers(parts, config),
    ]


def _tiers(parts: Parts, config: DeckConfig) -> list[Check]:
    """The models of the operator's tiers: what a run would refuse of them is said before it is ordered."""
    tiers = config.tiers
    detail = ", ".join(f"{name}: {', '.join(models)}" for name, models in tiers.items())
    if not tiers:
        detail = "none set for all repositories; one may set its own"
    fix = f'[tiers] brain = ["anthropic:…"] and hands = ["…"] in {parts.settings.home / DECK_FILE}'
    found = [Check(name="tiers", ok=bool(tiers), detail=detail, fix="" if tiers else fix, level="info")]
    for name in dict.fromkeys(name for models in tiers.values() for name in models):
        try:
            check_priced(parts, RunConfig(deck=config), (name,))
        except BadConfiguration as error:
            found.append(Check(name="tiers", ok=False, detail=str(error), fix=error.fix, level="warning"))
    return found


def keys_of_models(
    models: Mapping[str, ModelSection], usual: Mapping[str, str | None], have: Collection[str]
) -> list[Check]:
    """What is to be known of the keys of models of which the operator's file says something. Pure.

    `usual`: addresses by provider; `have`: variables that are set.
    """
    sources = {
        name: key_source(name, section, usual.get(provider))
        for name, section in models.items()
        if (provider := name.partition(":")[0]) in PROVIDERS
    }
    named = {section.api_key_env for section in models.values() if section.api_key_env}
    fixes = {name: f"export {name}=…" for name in sorted(named.difference(have))}
    why, detail = "is not set, which [models] names", "is sent none: its address is its own, without an api_key_env"
    return [
        *(
            Check(name="keys", ok=False, detail=f"{name} {why}", fix=fix, level="warning")
            for name, fix in fixes.items()
        ),
        *(Check(name="keys", ok=True, detail=f"{name} {detail}") for name, source in sources.items() if not source),
    ]


def _prices(parts: Parts) -> Check:
    day, days = age(DATED, parts.clock.wall())
    ok = days <= OLD
    fix = "" if ok else "update Quarterdeck, or set [prices]"
    return Check(name="prices", ok=ok, detail=f"list of {day}, {days} days old", fix=fix, level="warning")
