"""The sandbox's mounts as a pure list: order and omissions are what keeps agents in."""

from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.workplace.profile import OWN_ETC, Mounts, System, arguments

SYSTEM = System(
    links={"bin": "usr/bin", "lib": "usr/lib"},
    directories=(),
    etc=("ld.so.cache", "ssl/certs"),
    own_etc=Path("/ground/bin/etc"),
    program=Path("/ground/bin/worker"),
)
_MOUNTS = {"--ro-bind": 2, "--bind": 2, "--tmpfs": 1, "--proc": 1, "--dev": 1}


def mounts_of(args: list[str]) -> list[tuple[str, str, str]]:
    """(kind, source, target) in order."""
    found = []
    for position, part in enumerate(args):
        if part in _MOUNTS:
            given_parts = args[position + 1 : position + 1 + _MOUNTS[part]]
            found.append((part, given_parts[0] if len(given_parts) == 2 else "", given_parts[-1]))
    return found


mounts = st.builds(
    Mounts,
    workspace=st.just(Path("/ground/workspaces/x/w")),
    objects=st.lists(st.just(Path("/ground/mirrors/m/objects")), max_size=3),
    environment=st.one_of(st.none(), st.just(Path("/ground/environments/e"))),
    environment_writable=st.booleans(),
    proxy=st.one_of(st.none(), st.just(Path("/ground/sockets/s"))),
    tmp_bytes=st.integers(0, 2**40),
)


@given(mounts)
def test_the_workspace_is_last_and_nothing_is_below_what_an_agent_can_write(given_mounts: Mounts) -> None:
    args = arguments(SYSTEM, given_mounts, seccomp_fd=7, info_fd=8)
    order = mounts_of(args)
    assert order[-1] == ("--bind", "/ground/workspaces/x/w", "/workspace")
    writable = [target for kind, _, target in order if kind in ("--bind", "--tmpfs")]
    for position, target in enumerate(writable):
        later = [other for _, _, other in order[[t for _, _, t in order].index(target) + 1 :]]
        assert not any(PurePosixPath(target) in PurePosixPath(other).parents for other in later), (position, target)
    assert args[-5:] == ["--remount-ro", "/", "--chdir", "/workspace", "--"]


@given(mounts)
def test_only_the_workspace_and_a_writable_environment_are_bound_for_writing(given_mounts: Mounts) -> None:
    order = mounts_of(arguments(SYSTEM, given_mounts, seccomp_fd=7, info_fd=8))
    bound = {target for kind, _, target in order if kind == "--bind"}
    writable = given_mounts.environment is not None and given_mounts.environment_writable
    assert bound == ({"/workspace", "/env"} if writable else {"/workspace"})


@given(mounts)
def test_nothing_of_the_host_is_there_that_may_hold_a_socket(given_mounts: Mounts) -> None:
    order = mounts_of(arguments(SYSTEM, given_mounts, seccomp_fd=7, info_fd=8))
    for _, source, _ in order:
        assert source not in ("/", "/etc", "/run", "/var", "/tmp", "/home", "/root"), source
        assert not source.startswith(("/run/", "/var/", "/tmp/", "/home/", "/root/", "/dev/")), source


def test_every_tmpfs_is_bounded() -> None:
    args = arguments(SYSTEM, Mounts(workspace=Path("/w")), seccomp_fd=7, info_fd=8)
    for position, part in enumerate(args):
        if part == "--tmpfs":
            assert args[position - 2] == "--size"
            assert int(args[position - 1]) > 0


def test_isolation_is_complete() -> None:
    args = arguments(SYSTEM, Mounts(workspace=Path("/w")), seccomp_fd=7, info_fd=8)
    for flag in (
        *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try"),
        *("--as-pid-1", "--disable-userns", "--assert-userns-disabled", "--die-with-parent", "--new-session"),
        "--clearenv",
    ):
        assert flag in args
    assert args[args.index("--cap-drop") + 1] == "ALL"
    assert args[args.index("--seccomp") + 1] == "7"
    assert ("--ro-bind", "/proc/sys", "/proc/sys") in mounts_of(args)
    assert not any(part.startswith(("--share", "--dev-bind", "--cap-add", "--overlay")) for part in args)


def test_names_for_the_only_user_there_is() -> None:
    assert "agent:x:1000:1000" in OWN_ETC["passwd"]
    assert "127.0.0.1 localhost" in OWN_ETC["hosts"]
