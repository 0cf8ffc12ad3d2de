"""Repositories, file names, contents and branches as they are found in the wild: what cannot be used is refused with
the command that mends it; with everything else a run simply works. The user's checkout stays as it was, and what
somebody else does meanwhile is never lost."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import store_kit
from cli_kit import Said, assert_refused, call
from deck_kit import Place, carried, git, one, place_at, task

from quarterdeck.kernel import probes
from quarterdeck.kernel.events import TaskStatus
from quarterdeck.kernel.failures import Exit

pytestmark = pytest.mark.sandbox

A = task("a", "echo a > a.txt")
ONCE = "[limits]\nattempts = 1\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


def run(place: Place, repository: Path, *options: str, cwd: Path | None = None, **environment: str) -> Said:
    return call(place, "run", "--plan", str(place.plan(A)), "--repo", str(repository), *options, cwd=cwd, **environment)


def clone(place: Place, *options: str) -> Path:
    where = place.root / "clone"
    git(place.root, "clone", "-q", *options, f"file://{place.repository}", str(where))
    return where


# --- repositories that are refused --------------------------------------------------------------------------


def _nothing(place: Place) -> tuple[Path, ...]:
    return (place.root / "nothing",)


def _a_file(place: Place) -> tuple[Path, ...]:
    return (place.repository / "check.sh",)


def _no_repository(place: Place) -> tuple[Path, ...]:
    (place.root / "plain").mkdir()
    return (place.root / "plain",)


def _no_commit(place: Place) -> tuple[Path, ...]:
    git(place.root, "init", "-q", "empty")
    return (place.root / "empty",)


def _unborn(place: Place) -> tuple[Path, ...]:
    git(place.repository, "symbolic-ref", "HEAD", "refs/heads/unborn")
    return (place.repository,)


def alone(clone: Path) -> Path:
    """Without the remote that it came from, on which its runs would land where the deck is on PostgreSQL."""
    git(clone, "config", "--remove-section", "remote.origin")
    return clone


def _partial(place: Place) -> tuple[Path, ...]:
    git(place.repository, "config", "uploadpack.allowFilter", "true")
    return (clone(place, "--filter=blob:none", "--no-checkout"),)


def _damaged(place: Place) -> tuple[Path, ...]:
    blob = git(place.repository, "rev-parse", "HEAD:check.sh")
    (place.repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    return (place.repository,)


def _broken_ref(place: Place) -> tuple[Path, ...]:
    (place.repository / ".git" / "refs" / "heads" / "zz").write_text("nonsense\n")
    return (place.repository,)


def _broken_settings(place: Place) -> tuple[Path, ...]:
    (place.repository / ".git" / "config").write_text("[core\n")
    return (place.repository,)


def _work_tree_elsewhere(place: Place) -> tuple[Path, ...]:
    git(place.repository, "config", "core.worktree", "/nowhere")
    return (place.repository,)


def _from_the_future(place: Place) -> tuple[Path, ...]:
    git(place.repository, "config", "core.repositoryFormatVersion", "9")
    return (place.repository,)


def _no_head(place: Place) -> tuple[Path, ...]:
    (place.repository / ".git" / "HEAD").unlink()
    return (place.repository,)


def _git_file_to_nowhere(place: Place) -> tuple[Path, ...]:
    folder = place.root / "plain"
    folder.mkdir()
    (folder / ".git").write_text("gitdir: /nowhere\n")
    return (folder,)


def _deck_out_of_the_tree(place: Place) -> tuple[Path, ...]:
    deck = place.repository / ".quarterdeck" / "deck.toml"
    deck.unlink()
    deck.symlink_to("/etc/hostname")
    place.commit({})
    return (place.repository,)


def _of_another_user(place: Place) -> tuple[Path, ...]:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    for path in (place.repository, place.repository / ".git"):
        os.chown(path, 12345, 12345)
    return (place.repository,)


def _read_only(place: Place) -> tuple[Path, ...]:
    """Work of hours could not land: that is said before it begins."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a read-only file system")
    for options in (("--bind", str(place.repository)), ("-o", "remount,ro,bind")):
        subprocess.run(["mount", *options, str(place.repository)], check=True, capture_output=True)
    return (place.repository,)


def _name_is_no_text(place: Place) -> tuple[Path, ...]:
    target = os.fsdecode(os.fsencode(place.root) + b"/\xff")
    return (place.repository.rename(target),)


def _branch_in_the_way(place: Place) -> tuple[Path, ...]:
    git(place.repository, "branch", "quarterdeck")
    return (place.repository,)


@pytest.mark.embedded("it is refused before the deck matters; a partial clone is not: its remote is worked on there")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_nothing, ("nothing does not exist", "--repo")),
        (_a_file, ("check.sh is not a directory", "--repo")),
        (_no_repository, ("plain is not a git repository", "git init, then commit")),
        (_no_commit, ("empty has no commits", "commit --allow-empty")),
        (_unborn, ("nothing to start from", "HEAD is the branch unborn, which has no commit yet", "--base")),
        (_partial, ("is a partial clone, and objects of", "fetch --refetch --no-filter")),
        (_damaged, ("cannot be read from", "fsck")),
        (_broken_ref, ("has a ref that leads nowhere", "update-ref --no-deref -d refs/heads/zz")),
        (_broken_settings, ("git cannot use", "bad config line 1 in file .git/config")),
        (_work_tree_elsewhere, ("should be /nowhere, which does not exist", "config --unset core.worktree")),
        (_from_the_future, ("git cannot use", "repo version")),
        (_git_file_to_nowhere, ("plain is not a git repository", "/nowhere", "plain/.git, which git cannot use")),
        (_no_head, ("repository is not a git repository", "repository/.git, which git cannot use as it is")),
        (_deck_out_of_the_tree, ("deck.toml is not a file at", "inside of the commit only")),
        (_of_another_user, ("belongs to another user", "safe.directory")),
        (_read_only, ("repository cannot be written", "is read-only for this user", "clone of it with --repo")),
        (_name_is_no_text, ("is not UTF-8 text", "rename it")),
        (_branch_in_the_way, ("there can be no branch quarterdeck/r-", "beside the branch quarterdeck")),
    ],
)
def test_a_repository_that_is_refused(
    place: Place, make: Callable[[Place], tuple[Path, ...]], words: tuple[str, ...]
) -> None:
    place.begin()
    (repository,) = make(place)
    try:
        assert_refused(run(place, repository), Exit.USAGE, *words)
    finally:
        if make is _read_only:
            subprocess.run(["umount", str(repository)], check=True, capture_output=True)
    assert call(place, "ps", "--json").out == ""


def test_a_checked_out_target_is_moved_only_where_it_is_named_and_clean(place: Place) -> None:
    repository = place.begin(deck='[deck]\ninto = "main"\n')
    other = place.root / "other"
    git(repository, "worktree", "add", "-q", "-b", "other", str(other))
    (repository / "dirt").write_text("mine")
    (other / "shared.txt").write_text("mine")
    assert_refused(run(place, repository), Exit.USAGE, "main is checked out in", "a checked-out branch is not moved")
    for branch, where in (("main", repository), ("other", other)):
        said = run(place, repository, "--into", branch)
        assert_refused(said, Exit.USAGE, f"{branch} is checked out in {where}, which has changes", "stash -u")
    assert ((repository / "dirt").read_text(), (other / "shared.txt").read_text()) == ("mine", "mine")
    (repository / "dirt").unlink()
    git(other, "checkout", "-q", "shared.txt")
    for branch, where in (("main", repository), ("other", other)):
        assert run(place, repository, "--into", branch).code == Exit.DONE
        assert ((where / "a.txt").read_text(), git(where, "status", "--porcelain")) == ("a\n", "")


# --- repositories that work ---------------------------------------------------------------------------------


def _bare(place: Place) -> Path:
    return alone(clone(place, "--bare"))


def _subdirectory(place: Place) -> Path:
    return place.repository / ".quarterdeck"


def _worktree(place: Place) -> Path:
    git(place.repository, "worktree", "add", "-q", "-b", "side", str(place.root / "side"))
    return place.root / "side"


def _detached(place: Place) -> Path:
    git(place.repository, "checkout", "-q", "--detach")
    return place.repository


def _dirty(place: Place) -> Path:
    (place.repository / "untracked").write_text("x")
    (place.repository / "shared.txt").write_text("changed")
    (place.repository / "check.sh").unlink()
    (place.repository / "staged").write_text("x")
    git(place.repository, "add", "staged")
    return place.repository


def _shallow(place: Place) -> Path:
    place.commit({"later.txt": "x"})
    return alone(clone(place, "--depth=1"))


def _sparse(place: Place) -> Path:
    git(place.repository, "sparse-checkout", "set", "--cone", ".quarterdeck")
    return place.repository


def _filter_that_is_missing(place: Place) -> Path:
    place.commit(
        {".gitattributes": "*.bin filter=lfs -text\n", "x.bin": "version https://git-lfs.github.com/spec/v1\n"}
    )
    for key in ("smudge", "clean", "process"):
        git(place.repository, "config", f"filter.lfs.{key}", "/no/such/program")
    git(place.repository, "config", "filter.lfs.required", "true")
    os.utime(place.repository / "x.bin", (1, 1))
    return place.repository


def _submodule(place: Place) -> Path:
    place.begin(name="library")
    library = str(place.root / "library")
    git(place.repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", library, "vendor/library")
    place.commit({})
    return place.repository


def _odd_names(place: Place) -> Path:
    for name in (b"\xff\xfe.py", b"new\nline", b"-rf", b"Case", b"case", b"n" * 250, "\u00e9".encode(), b"e\xcc\x81"):
        (place.repository / os.fsdecode(name)).write_text("x")
    (place.repository / "absolute").symlink_to("/etc/passwd")
    (place.repository / "out").symlink_to("../../x")
    (place.repository / "loop").symlink_to("loop")
    (place.repository / ".quarterdeck" / "deck.toml").rename(place.repository / "deck.toml")
    (place.repository / ".quarterdeck" / "deck.toml").symlink_to("../deck.toml")
    (place.repository / "CLAUDE.md").write_text("Read this.\n")
    (place.repository / "AGENTS.md").symlink_to("CLAUDE.md")
    agents = place.repository / ".claude" / "agents"
    agents.mkdir(parents=True)
    (agents / "latin.md").write_bytes(b"---\nname: caf\xe9\n---\n")
    place.commit({})
    return place.repository


def _settings_and_hooks(place: Place) -> Path:
    """What would break, sign, refuse, rewrite or colour what git does, if it held for us as well."""
    settings = {
        "commit.gpgsign": "true",
        "gpg.program": "/bin/false",
        "core.fsmonitor": "/bin/false",
        "core.pager": "/bin/false",
        "core.autocrlf": "true",
        "core.logAllRefUpdates": "false",
        "core.abbrev": "4",
        "diff.external": "/bin/false",
        "diff.noprefix": "true",
        "color.ui": "always",
        "log.showSignature": "true",
        "format.pretty": "oneline",
        "alias.status": "!false",
        "init.defaultBranch": "strange/name",
        "receive.denyCurrentBranch": "refuse",
        "receive.fsckObjects": "true",
        "transfer.hideRefs": "refs/heads",
        "uploadpack.hideRefs": "refs",
        "protocol.allow": "never",
        "fetch.prune": "true",
        "gc.auto": "1",
    }
    for key, value in settings.items():
        git(place.repository, "config", key, value)
    hooks = place.repository / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-commit", "commit-msg", "reference-transaction", "post-checkout", "update", "post-merge"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch '{place.root}/hook'\nexit 1\n")
        (hooks / name).chmod(0o755)
    return place.repository


HERE = pytest.mark.embedded("strange is the checkout or its settings; other rows and test_delivery are on both")


@pytest.mark.parametrize(
    ("make", "note"),
    [
        (_bare, ""),
        pytest.param(_subdirectory, "", marks=HERE),
        pytest.param(_worktree, "", marks=HERE),
        pytest.param(_detached, "", marks=HERE),
        pytest.param(_dirty, "has uncommitted changes; they are not part of the run", marks=HERE),
        (_shallow, ""),
        pytest.param(_sparse, "", marks=HERE),
        pytest.param(_filter_that_is_missing, "git cannot tell whether", marks=HERE),
        (_submodule, ""),
        (_odd_names, ""),
        pytest.param(_settings_and_hooks, "", marks=HERE),
    ],
)
def test_a_repository_that_works(place: Place, make: Callable[[Place], Path], note: str) -> None:
    place.begin()
    repository = make(place)
    nobody = place.root / "nobody"
    nobody.mkdir()
    before = _checkout(repository)
    said = run(place, repository, HOME=str(nobody), GIT_AUTHOR_NAME="", EMAIL="", USER="\udcff")
    assert said.code == Exit.DONE, said.err
    assert note in said.err
    branch = said.out.split()[2]
    assert git(repository, "-c", "core.pager=cat", "show", "--no-show-signature", f"{branch}:a.txt") == "a"
    assert git(repository, "rev-parse", f"{branch}~1") == git(repository, "rev-parse", "HEAD")
    assert _checkout(repository) == before
    assert not (place.root / "hook").exists()
    subprocess.run(["git", "-C", str(repository), "fsck", "--strict"], check=True, capture_output=True)


def test_what_an_order_lacks_and_is_only_not_committed_is_named(place: Place) -> None:
    place.begin()
    agents = place.repository / ".quarterdeck" / "agents"
    for name in ("new", "newer"):
        (agents / f"{name}.md").write_text(f"---\nname: {name}\nharness: command\ncommand: [true]\n---\n")
    plan = place.plan(task("a", "true", agent="new"), task("b", "true", agent="new"))
    code, _, said = place.call("run", "--plan", str(plan), "--repo", str(place.repository))
    assert code == Exit.USAGE
    assert "unknown agent `new`" in said and said.count("(known: ") == 1
    files = ".quarterdeck/agents/new.md, .quarterdeck/agents/newer.md"
    assert f"{files} are not committed as they are, and not used: git add .quarterdeck && git commit" in said
    git(place.repository, "add", ".quarterdeck")
    git(place.repository, "commit", "-qm", "agents")
    code, _, said = place.call("run", "--plan", str(plan), "--repo", str(place.repository), "--agent", "nobody")
    assert code == Exit.USAGE and "there is no agent 'nobody'" in said and "not committed" not in said


def _checkout(repository: Path) -> dict[str, tuple[float, bytes]]:
    """Every file of a work tree and of what git knows about it: index, HEAD, settings."""
    found = {}
    for folder, folders, names in os.walk(repository):
        folders[:] = [name for name in folders if name not in (".git", "objects", "refs")]
        for path in (Path(folder) / name for name in names):
            if not path.is_symlink():
                found[str(path)] = (path.stat().st_mtime, path.read_bytes())
    for name in ("HEAD", "config", "index"):
        if (file := repository / ".git" / name).is_file():
            found[name] = (0, file.read_bytes())
    return found


def test_sha256_objects(place: Place) -> None:
    repository = place.begin()
    git(place.root, "init", "-q", "--object-format=sha256", "large")
    for name in (".quarterdeck", "check.sh"):
        copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
        copy(repository / name, place.root / "large" / name)
    place.commit({}, place.root / "large")
    said = run(place, place.root / "large")
    assert said.code == Exit.DONE, said.err
    assert git(place.root / "large", "show", f"{said.out.split()[2]}:a.txt") == "a"


def test_an_unborn_head_is_no_matter_where_the_base_is_named(place: Place) -> None:
    repository = place.begin()
    git(repository, "symbolic-ref", "HEAD", "refs/heads/unborn")
    said = run(place, repository, "--base", "main")
    assert said.code == Exit.DONE, said.err
    assert git(repository, "symbolic-ref", "HEAD") == "refs/heads/unborn"


def test_line_ends_of_a_checkout_that_is_moved(place: Place) -> None:
    repository = place.begin({".gitattributes": "*.txt text\n"})
    git(repository, "config", "core.autocrlf", "true")
    git(repository, "rm", "-q", "--cached", "-r", ".")
    git(repository, "reset", "-q", "--hard")
    assert run(place, repository, "--into", "main").code == Exit.DONE
    assert (repository / "a.txt").read_bytes() == b"a\r\n"
    assert git(repository, "show", "main:a.txt") == "a"
    assert git(repository, "status", "--porcelain") == ""


# --- changes ------------------------------------------------------------------------------------------------

NAMES = (
    "a b",
    "new\nline",
    "t\tab",
    "q'\"`$(x)\\",
    "-rf",
    "--help",
    ":(glob)x",
    "st*r?[a]",
    "!x",
    "#y",
    "\u00e9",  # composed
    "e\u0301",  # and decomposed
    "\U0001f680",
    "c\x1b[31m\x07",
    "trailing ",
    "UP",
    "up",
    "l" * 255,
    "/".join(["d" * 200] * 10),
)
MAKE_NAMES = f"""python3 - <<'END'
import os
for name in {NAMES!r}:
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    open(name, "w").write("x")
END"""
CONTENTS = """printf 'c\\r\\n' >> crlf.txt
printf 'a\\r\\nb\\r\\n' > text.dos
printf 'plain' > x.evil; git config filter.evil.clean 'touch /tmp/filtered; echo no'
head -c 100000 /dev/urandom > binary; cp binary copy; cmp binary copy
: > empty
chmod +x mode.sh
git mv 'old name.txt' new.txt
git mv case/Name case/name
rm gone.txt
ln -s crlf.txt link
git mv media/old.bin media/moved.bin; sed s/5/6/ media/moved.bin > media/second.bin; echo x > media/plain
mkfifo pipe; mkdir -p empty-directory/below
chmod 000 empty; mkdir closed; echo x > closed/file; chmod 555 closed"""

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'5' * 64}\nsize 12345\n"
REJECTED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "not-utf8": ("python3 -c \"open(b'\\xff\\xfe', 'w')\"", ("**",), "the path b'\\xff\\xfe' is not UTF-8 text"),
    "not-utf8-gone": ("python3 -c \"import os; os.remove(b'\\xfe')\"", ("**",), "the path b'\\xfe' is not UTF-8 text"),
    "link-out": ("ln -s ../../outside away", ("**",), "the symbolic link away leads out of the repository"),
    "link-absolute": ("ln -s /etc/passwd away", ("**",), "the symbolic link away leads out of the repository"),
    "link-instead": ("rm -r case; ln -s /etc case", ("**",), "the symbolic link case leads out of the repository"),
    "big": ("head -c 31457280 /dev/zero > big", ("**",), "larger than 4000000 bytes: big"),
    "many": ("for i in $(seq 600); do : > m$i; done", ("**",), "600 files changed, at most 500"),
    "repository": ("git init -q sub; echo x > sub/f", ("**",), "a repository lies inside the workspace"),
    "dot-git": ("mkdir .GIT; echo x > .GIT/config", ("**",), "invalid path '.GIT/config'"),
    "dot-git-short": ("mkdir git~1; echo x > git~1/config", ("**",), "invalid path 'git~1/config'"),
    "modules": ("printf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = -u./x\\n' > .gitmodules", ("**",), "gitmodulesUrl"),
    "modules-name": ("printf '[submodule \"../x\"]\\n\\turl = x\\n' > .gitmodules", ("**",), "gitmodulesName"),
    "submodule-gone": ("git rm -q vendor/library", ("**",), "a submodule was added, changed or removed"),
    "ours": ("echo >> .quarterdeck/deck.toml", ("**",), "these must never change: .quarterdeck/deck.toml"),
    "mode-outside": ("chmod +x check.sh", ("*.md",), "outside of the task's paths (*.md): check.sh"),
    "rename-from": ("mv shared.txt x.md", ("*.md",), "outside of the task's paths (*.md): shared.txt"),
    "lfs": ("head -c 1000 /dev/urandom > media/new.bin", ("**",), "Git LFS keeps these files, and agents cannot store"),
    "lfs-outside": ("echo x > media/old.bin", ("*.md",), "outside of the task's paths (*.md): media/old.bin"),
    "nothing": ("mkdir -p a/b", ("**",), "nothing differs from the base"),
}


def _raw_names(repository: Path) -> None:
    (repository / "crlf.txt").write_bytes(b"a\r\nb\r\n")
    (repository / os.fsdecode(b"\xfe")).write_text("x")


async def test_changes_of_every_kind(place: Place) -> None:
    repository = place.begin(
        {
            ".gitattributes": "*.dos text eol=crlf\n*.evil filter=evil\n",
            "media/.gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            "media/old.bin": POINTER,
            "old name.txt": "".join(f"{number}\n" for number in range(30)),
            "mode.sh": "#!/bin/sh\n",
            "case/Name": "x\n",
            "gone.txt": "gone\n",
        },
        deck=ONCE,
    )
    _raw_names(repository)
    _submodule(place)
    tasks = [task("names", MAKE_NAMES, paths=["**"]), task("contents", f"set -e\n{CONTENTS}", paths=["**"])]
    tasks += [task(name, script, paths=list(paths)) for name, (script, paths, _) in REJECTED.items()]
    async with carried(place, *tasks) as (_, result):
        for name in ("names", "contents"):
            assert one(result, name).status is TaskStatus.MERGED, one(result, name).reason
        for name, (_, _, reason) in REJECTED.items():
            assert one(result, name).status is TaskStatus.FAILED, name
            assert reason in one(result, name).reason
        names, contents = (one(result, name).commit or "" for name in ("names", "contents"))
    assert _differs(repository, names) == dict.fromkeys(NAMES, "A 100644")
    assert _differs(repository, contents) == {
        "binary": "A 100644",
        "case/Name": "D 000000",
        "case/name": "A 100644",
        "closed/file": "A 100644",
        "copy": "A 100644",
        "crlf.txt": "M 100644",
        "empty": "A 100644",
        "gone.txt": "D 000000",
        "link": "A 120000",
        "media/moved.bin": "A 100644",
        "media/old.bin": "D 000000",
        "media/plain": "A 100644",
        "media/second.bin": "A 100644",
        "mode.sh": "M 100755",
        "new.txt": "A 100644",
        "old name.txt": "D 000000",
        "text.dos": "A 100644",
        "x.evil": "A 100644",
    }
    assert _blob(repository, contents, "crlf.txt") == b"a\r\nb\r\nc\r\n"
    assert _blob(repository, contents, "text.dos") == b"a\nb\n"
    assert _blob(repository, contents, "x.evil") == b"plain"
    assert _blob(repository, contents, "binary") == _blob(repository, contents, "copy")
    assert (git(repository, "status", "--porcelain"), git(repository, "fsck")) == ("", "")


def _differs(repository: Path, commit: str) -> dict[str, str]:
    """What a commit changed: status letter and new mode by path."""
    fields = git(repository, "diff-tree", "-r", "-z", "--no-commit-id", "--raw", "--no-renames", commit).split("\0")
    return {path: f"{head.split()[4]} {head.split()[1]}" for head, path in zip(fields[::2], fields[1::2], strict=False)}


def _blob(repository: Path, commit: str, path: str) -> bytes:
    done = subprocess.run(["git", "-C", str(repository), "show", f"{commit}:{path}"], capture_output=True, check=True)
    return done.stdout


def test_thirty_megabytes_where_they_are_allowed(place: Place) -> None:
    repository = place.begin(deck="[limits]\nchange_bytes = 50000000\n")
    plan = place.plan(task("big", "head -c 31457280 /dev/zero > big", paths=["big"]))
    said = call(place, "run", "--plan", str(plan), "--repo", str(repository))
    assert said.code == Exit.DONE, said.err
    assert git(repository, "cat-file", "-s", f"{said.out.split()[2]}:big") == "31457280"


# --- a target that somebody else works on -------------------------------------------------------------------

COMMIT = "git worktree add -q ../w t; cd ../w; {}; git add .; git -c user.name=b -c user.email=b@b commit -qm theirs"
LEAVE = "; cd ../repository; git worktree remove ../w"


@pytest.mark.parametrize(
    ("theirs", "code", "words", "tree"),
    store_kit.first_on_both(
        "what somebody does to a branch is in git alone, and test_gate has what the gate makes of it",
        [
            (COMMIT.format("echo m > a.txt") + LEAVE, Exit.DONE, "attempt 2", {"a.txt": "a"}),
            (COMMIT.format("echo m > m.txt") + LEAVE, Exit.DONE, "", {"a.txt": "a", "m.txt": "m"}),
            ("", Exit.DONE, "", {"a.txt": "a"}),
            (COMMIT.format("echo m > BAD") + LEAVE, Exit.FAILED, "the target itself is red", {"BAD": "m"}),
            ("git branch -D t", Exit.DONE, "", {"a.txt": "a"}),
            ("git branch -f t t~1", Exit.DONE, "", {"a.txt": "a", "later.txt": None}),
            ("git worktree add -q ../w t", Exit.FAILED, "the branch t is checked out in", {}),
            ("git branch -D t; git branch t/x main", Exit.FAILED, "the branch t cannot be written", {}),
        ],
    ),
    ids=["in-conflict", "on-top", "untouched", "red", "deleted", "moved-back", "checked-out", "in-the-way"],
)
def test_a_target_that_somebody_else_moves_meanwhile(
    place: Place, theirs: str, code: int, words: str, tree: dict[str, str | None]
) -> None:
    # A line that both change into another one is what no way puts together.
    repository = place.begin({"a.txt": "o\n"})
    place.commit({"later.txt": "x"})
    git(repository, "branch", "t")
    known: list[str] = []

    def somebody(probe: str) -> None:
        if probe == "change.exported" and not known:
            subprocess.run(["sh", "-ec", theirs], cwd=repository, capture_output=True, check=True)
            known.extend(git(repository, "rev-parse", "--branches").split())

    probes.install(somebody)
    try:
        said = run(place, repository, "--into", "t")
    finally:
        probes.install(None)
    assert said.code == code, said.err
    assert words in said.err
    reachable = git(repository, "rev-list", "--branches").split()
    assert known and set(known) <= set(reachable)
    for path, content in tree.items():
        done = subprocess.run(["git", "show", f"t:{path}"], cwd=repository, capture_output=True, text=True, check=False)
        assert (done.stdout.strip() if done.returncode == 0 else None) == content
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "symbolic-ref", "HEAD") == "refs/heads/main"


def test_a_repository_that_goes_away_meanwhile(place: Place) -> None:
    repository = place.begin()
    away = place.root / "away"

    def somebody(probe: str) -> None:
        if probe == "change.exported" and not away.exists():
            repository.rename(away)

    probes.install(somebody)
    try:
        said = run(place, repository)
    finally:
        probes.install(None)
    assert said.code == Exit.FAILED
    assert f"{repository} does not exist" in said.err
    away.rename(repository)
    name = said.out.split()[0]
    again = call(place, "resume", name, "--retry")
    assert again.code == Exit.DONE, again.err
    assert git(repository, "show", f"quarterdeck/{name}:a.txt") == "a"


STEERS = "\x1b]0;title\x07\x1b[31m\u202e\x9b31m"


def test_text_that_would_steer_a_terminal(place: Place) -> None:
    place.begin(deck=ONCE)
    fails = task("a", f"printf '%s' '{STEERS}' >&2; exit 3", title=f"title {STEERS}")
    plan = place.plan(fails)
    goal = f"--goal {STEERS} \U0001f680 'quoted' \"twice\" $(touch x) \\ \t"
    said = call(place, "run", "--plan", str(plan), "--repo", str(place.repository), "--", goal)
    assert said.code == Exit.FAILED
    name = said.out.split()[0]
    shown = [said, *(call(place, *command) for command in _looks(name))]
    assert [each.code for each in shown[1:]] == [Exit.DONE] * (len(shown) - 1)
    for each in shown:
        assert not set(each.out + each.err) & set("\x1b\x07\x9b\u202e")
    for where, code in (("/proc/nowhere", Exit.USAGE), (str(plan), Exit.STALE)):
        assert_refused(call(place, "export", name, "--to", where), code, where, "--to DIRECTORY")
    stored = json.loads(call(place, "ps", "--json").out)["goal"]
    assert stored == goal


def _looks(name: str) -> tuple[tuple[str, ...], ...]:
    return (
        ("ps",),
        ("show", name),
        ("show", name, "--report"),
        ("show", f"{name}.a"),
        ("show", f"{name}.a.1"),
        ("logs", name),
        ("cost", name),
    )
