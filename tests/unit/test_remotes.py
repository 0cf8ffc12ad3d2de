"""One repository has one identity, however its URL is spelled; and no secret of a URL is put on record."""

import contextlib
import sqlite3
from functools import partial
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from store_kit import open_at

from quarterdeck.assembly.remote import target_of
from quarterdeck.govern.starts import Windows
from quarterdeck.journal.log import Log
from quarterdeck.journal.views import Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.kernel.remotes import check_recordable, identity, same
from quarterdeck.store.port import Tx
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.store.statements import migrations
from quarterdeck.testing import stories
from quarterdeck.workplace.afar import Afar, url_of
from quarterdeck.workplace.mirror import Mirror

SPELLINGS = (
    "https://git.example.org/team/hooks",
    "https://git.example.org/team/hooks.git",
    "https://git.example.org/team/hooks.git/",
    "https://git.example.org/team/hooks//",
    "https://git.example.org/team//hooks",
    "https://Git.Example.ORG/team/hooks",
    "HTTPS://git.example.org./team/hooks",
    "https://git.example.org:443/team/hooks",
    "https://git@git.example.org/team/hooks",
    "https://ada@git.example.org/team/hooks",
    "https://git.example.org/te%61m/hooks",
    "http://git.example.org:80/team/hooks",
    "git://git.example.org/team/hooks.git",
    "git://git.example.org:9418/team/hooks.git",
    "ssh://git@git.example.org/team/hooks.git",
    "ssh://git@git.example.org:22/team/hooks",
    "ssh://git.example.org/team/hooks",
    "ssh://ada@git.example.org/team/hooks",
    "git+ssh://git@git.example.org/team/hooks",
    "ssh://git@git.example.org/~/team/hooks",
    "git@git.example.org:team/hooks",
    "git@git.example.org:team/hooks.git",
    "git@git.example.org:team/hooks.git/",
    "git@GIT.example.org:/team/hooks",
    "git@git.example.org:~/team/hooks",
    "git.example.org:team/hooks",
    "gitea@git.example.org:team/hooks",
    "ada@git.example.org:/team/hooks",
)
"""Of one repository."""

OTHERS = (
    "https://git.example.org/team/Hooks",
    "https://git.example.org/team/hooks2",
    "https://git.example.org/hooks",
    "https://git.example.org:8443/team/hooks",
    "http://git.example.org:8080/team/hooks",
    "ssh://git@git.example.org:2222/team/hooks",
    "https://git.example.com/team/hooks",
    "https://example.org/git/team/hooks",
    "ada@git.example.org:team/hooks",
    "bob@git.example.org:team/hooks",
    "ssh://git@[::1]/team/hooks",
    "file:///git.example.org/team/hooks",
    "file:///srv/team/hooks.git",
    "/srv/team/hooks",
    "/srv/team/hooks.git",
    "https://[bad/team/hooks",
    "https://git.example.org:port/team/hooks",
    "ext::something team/hooks",
)
"""Each another one, and none of them the one above."""


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_repository_is_one_however_its_url_is_spelled(spelling: str) -> None:
    assert identity(spelling) == "https://git.example.org/team/hooks"
    assert same(spelling, SPELLINGS[0])
    one, other = (Mirror(Path(), Afar(url, {})) for url in (spelling, SPELLINGS[0]))
    assert target_of(one, "main", ()) == target_of(other, "main", ()), "one gate"
    assert target_of(one, "main", ()) != target_of(other, "next", ())


def test_repositories_that_differ_are_not_taken_for_one() -> None:
    every = [identity(url) for url in (SPELLINGS[0], *OTHERS)]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@host:r", "ssh://ada@host/~/r.git"),
        ("ada@host:r", "ssh://bob@HOST/~ada/r"),
        ("ada@host:r", "ada@host:~/r/"),
        ("ssh://git@[::1]/o/r", "git@[::1]:o/r.git"),
        ("file:///srv/r", "file:///srv/r.git"),
        ("file:///srv/r", "file:///srv/r/.git"),
    ],
)
def test_homes_and_addresses_have_one_identity_too(one: str, other: str) -> None:
    assert identity(one) == identity(other)


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
HOSTS = st.from_regex(r"[a-z][a-z0-9]{0,10}(\.[a-z][a-z0-9]{0,10}){0,2}", fullmatch=True)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
FORMS = st.sampled_from(
    (
        "https://{host}/{path}",
        "https://{host}:443/{path}",
        "http://{host}/{path}",
        "https://someone@{host}/{path}",
        "ssh://git@{host}/{path}",
        "ssh://ada@{host}:22/{path}",
        "git://{host}/{path}",
        "git@{host}:{path}",
        "{host}:{path}",
    )
)
ENDS = st.sampled_from(("", "/", ".git", ".git/"))


@given(HOSTS, PATHS, FORMS, FORMS, ENDS, ENDS, st.booleans())
def test_any_two_spellings_of_any_repository_are_one(
    host: str, path: str, one: str, other: str, end: str, tail: str, loud: bool
) -> None:
    assume(not path.endswith(".git"))
    left = one.format(host=host.upper() if loud else host, path=path) + end
    right = other.format(host=host, path=path) + tail
    assert identity(left) == identity(right) == f"https://{host}/{path}"
    assert identity(identity(left)) == identity(left)


@given(HOSTS, HOSTS, PATHS, PATHS, FORMS, FORMS)
def test_no_two_repositories_of_forges_are_one(
    host: str, server: str, path: str, place: str, one: str, other: str
) -> None:
    assume((host, path) != (server, place) and not path.endswith(".git") and not place.endswith(".git"))
    assert not same(one.format(host=host, path=path), other.format(host=server, path=place))


@given(st.text(max_size=60))
def test_whatever_stands_there_has_an_identity(text: str) -> None:
    assert same(text, text)
    identity(text)


def _at_work(repository: str, tx: Tx) -> int:
    return Windows().at_work(tx, repository=repository)


# --- on record ----------------------------------------------------------------------------------------------


async def test_runs_of_one_repository_count_together_however_it_is_spelled(tmp_path: Path) -> None:
    store = await open_at(tmp_path / "deck.db")
    log = Log(store, SystemClock())
    urls = ("git@host:o/r.git", "https://Host/o/r", "ssh://git@host/o/r/", "https://host/o/other")
    for number, url in enumerate(urls):
        claim = await log.claim(ids.run_stream(f"r-{number}"))
        await log.append(
            claim, stories.created(f"r-{number}", repository=url), e.NodeStarted(node=e.Node.PLAN, attempt=None)
        )
    assert [await store.write(partial(_at_work, url)) for url in urls] == [3, 3, 3, 1]
    views = Views(store)
    assert [view.repository for view in await views.runs()] == list(reversed(urls)), "as it was ordered"
    await store.close()


@pytest.mark.embedded("upgrades a file of an older version; PostgreSQL's upgrades are tested with its store")
async def test_runs_of_before_are_counted_with_those_of_now(tmp_path: Path) -> None:
    path = tmp_path / "deck.db"
    steps = [step for step in migrations() if step.version < 15]
    urls = ("git@Host:o/r.git", "https://host/o/r.git", "https://host/o/r/", "/srv/r.git", "ssh://git@host/o/r")
    with contextlib.closing(sqlite3.connect(path)) as old:
        for statement in (statement for step in steps for statement in step.statements):
            old.execute(statement)
        for number, url in enumerate(urls):
            old.execute(
                'INSERT INTO runs (run, status, goal, repository, target, branch, base, budget_nusd, "user", sandbox,'
                " created_at, updated_at) VALUES (?, 'planning', '', ?, '', '', '', 0, '', '', 0, 0)",
                (f"r-{number}", url),
            )
        old.execute(f"PRAGMA user_version = {len(steps)}")
        old.commit()
    store = await SqliteStore.open(path, durability="normal")
    try:
        for url, count in ((urls[0], 3), (urls[3], 1)):
            assert await store.write(partial(_at_work, url)) == count
        assert await store.write(lambda tx: tx.run("starts_at_work_in", identity=urls[4])) == [{"n": 1}], "as it was"
    finally:
        await store.close()


# --- what may be recorded -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("/srv/git/a.git", "file:///srv/git/a.git"),
        ("git@example.org:team/a.git", "git@example.org:team/a.git"),
        ("ada@example.org:team/a.git", "ada@example.org:team/a.git"),
        ("ssh://ada@example.org/a.git", "ssh://ada@example.org/a.git"),
        ("https://git@example.org/a.git", "https://git@example.org/a.git"),
        ("https://example.org/a.git", "https://example.org/a.git"),
        ("file:///srv/git/a.git", "file:///srv/git/a.git"),
    ],
)
def test_a_remote_is_recorded_as_a_url(remote: str, url: str) -> None:
    assert url_of(remote) == url


@pytest.mark.parametrize(
    ("remote", "told"),
    [
        ("https://ada:secret@example.org/a.git", "a password"),
        ("https://git:secret@example.org/a.git", "a password"),
        ("https://:secret@example.org/a.git", "a password"),
        ("https://x-access-token:secret@example.org:8443/a.git", "a password"),
        ("ssh://ada:secret@example.org/a.git", "a password"),
        ("https://secret@example.org/a.git", "a user, which may be a token"),
        ("https://secret:@example.org/a.git", "a password"),
        ("http://secret@[::1]:8080/a.git", "a user, which may be a token"),
        ("HTTPS://secret@example.org/a.git", "a user, which may be a token"),
        ("git://secret@example.org/a.git", "a user, which may be a token"),
        ("https://example.org/a.git?private_token=secret", "a query, which may hold a token"),
        ("https://example.org/a.git#secret", "a query, which may hold a token"),
        ("https://secret@example.org:port/a.git", "is no URL"),
        ("https://secret@[bad/a.git", "is no URL"),
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(remote: str, told: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        url_of(remote)
    words = f"{refused.value}\n{refused.value.why}\n{refused.value.fix}"
    assert told in words and "secret" not in words.replace("a secret", "")
    assert refused.value.fix


def test_the_fix_names_the_url_without_the_secret() -> None:
    with pytest.raises(BadConfiguration) as refused:
        check_recordable("https://ghp_secret@example.org:8443/team/a.git")
    assert "https://example.org:8443/team/a.git" in refused.value.fix
