"""What people say while a run is just ending is heard in its order."""

from quarterdeck.delivery.wishes import Line


def test_who_has_to_wait_is_not_overtaken() -> None:
    line = Line()
    assert line.next("r-1", "resume", 0.0)
    line.wait("r-1", "resume", 0.0)
    assert not line.next("r-1", "cancel", 0.1)
    assert line.next("r-2", "cancel", 0.1), "another run's"
    line.wait("r-1", "resume", 9.0)
    assert not line.next("r-1", "cancel", 9.1), "it comes back all the time"
    assert line.next("r-1", "resume", 9.5)
    line.heard("r-1", "resume")
    assert line.next("r-1", "cancel", 9.6)
    line.heard("r-1", "cancel")
    assert line.next("r-1", "pause", 9.7)


def test_nobody_waits_for_a_wish_that_another_worker_has_heard() -> None:
    line = Line()
    line.wait("r-1", "resume", 0.0)
    assert not line.next("r-1", "cancel", 1.0)
    assert line.next("r-1", "cancel", 20.0)
    line.heard("r-1", "cancel")
    assert line.next("r-1", "pause", 20.0)
