"""The environments of the benchmarks' peers."""

from bench.peers import made_from


def test_an_environment_is_made_again_for_other_packages_and_for_another_interpreter() -> None:
    made = made_from(b"a==1", "3.11.2 (main)", "/usr/bin/python3.11")
    assert made == made_from(b"a==1", "3.11.2 (main)", "/usr/bin/python3.11")
    others = [
        made_from(b"a==2", "3.11.2 (main)", "/usr/bin/python3.11"),
        made_from(b"a==1", "3.11.7 (main)", "/usr/bin/python3.11"),
        made_from(b"a==1", "3.11.2 (main)", "/opt/bin/python3.11"),
    ]
    assert len({made, *others}) == 4
