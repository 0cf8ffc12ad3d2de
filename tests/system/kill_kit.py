"""What the kill tests share: scenes that are cleaned up, and runs that are carried on through kills."""

from collections.abc import Callable, Iterator
from pathlib import Path

import store_kit

from quarterdeck.testing.chaos.processes import Seen, Worker, ask
from quarterdeck.testing.chaos.scene import Scene, Size, make_scene
from quarterdeck.testing.chaos.verdict import Verdict, judge

MakeScene = Callable[[Size], Scene]


def scenes(tmp_path: Path) -> Iterator[MakeScene]:
    """Makes scenes, and removes what their decks leave outside of their homes."""
    made: list[Scene] = []

    def make(size: Size) -> Scene:
        folder = tmp_path / f"scene{len(made)}"
        made.append(make_scene(folder, size, store_kit.url(folder / "home" / "deck.db") or ""))
        return made[-1]

    yield make
    for scene in made:
        scene.ground.destroy()


def order(scene: Scene) -> tuple[str, ...]:
    """The arguments that begin a run of the scene's plan."""
    return ("run", "--plan", str(scene.plan), "--repo", str(scene.repository))


def carry_on(scene: Scene, run: str, model_url: str = "", seen: Seen | None = None) -> Verdict:
    """Resume the run to its end and judge it."""
    with Worker(scene, "resume", run, seen=seen or Seen(), model_url=model_url) as worker:
        code = worker.finish()
        assert code == 0, worker.errors
    return judge(scene, run, worker.result)


def newest_run(scene: Scene) -> str:
    """Id of the newest run that exists, or the empty string."""
    code, lines = ask(scene, "ps")
    assert code == 0
    return str(lines[0]["run"]) if lines else ""
