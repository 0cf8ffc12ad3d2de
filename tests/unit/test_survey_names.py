"""Which names of a change are said to resolve nowhere, and which are not."""

from pathlib import Path

import pytest

from quarterdeck.delivery.validation.survey.imports import known
from quarterdeck.delivery.validation.survey.names import invented
from quarterdeck.delivery.validation.survey.places import Places
from quarterdeck.delivery.validation.survey.report import Edit, survey

TREE = {
    "pkg/__init__.py": "from pkg.core import run\n",
    "pkg/core.py": "import os\nLIMIT = 3\ndef run(): pass\nif os.name: HERE = 1\n",
    "pkg/lazy.py": "def __getattr__(name): return 1\n",
    "pkg/star.py": "from pkg.core import *\n",
    "src/other/mod.py": "class A: pass\n",
    "src/other/types.py": "class B: pass\n",
    "src/other/fast.pyx": "cdef int x",
    "src/other/user.py": "import known_elsewhere\nfrom ._made import version\nfrom os import path\n",
}
KNOWN = known(TREE, "dependencies = ['Some-Package>=1', 'PyOther']\n", "some-package pyother dependencies")


@pytest.mark.parametrize(
    "source",
    [
        "from pkg.core import LIMIT, run, HERE",
        "from pkg import run, core",
        "from pkg.lazy import anything",
        "from pkg.star import LIMIT",
        "from . import core\nfrom .core import run",
        "from other.mod import A",
        "import os.path\nprint(os.path.join('a'))",
        "import json as j\nj.dumps(1)",
        "try:\n    import nowhere\nexcept ImportError:\n    nowhere = None",
        "import known_elsewhere",
        "import some_package.deep\nimport other",
        "from other._made import version\nimport other.fast\nother.fast.anything",
        "from types import TracebackType\nfrom types import B",  # the tree has one, the interpreter another
        "import sys\nhasattr(sys, '_is_it') and sys._is_it()",
        "import sys\nif getattr(sys, 'frozen', None): print(sys.frozen)",
        "import enum\nenum.Strange = 1\nprint(enum.Strange)",
        "import copy, unittest\n@unittest.skipIf(True, '')\ndef f(): copy.replaced()",
        "from pkg.core import LIMIT as PY_3_14_PLUS\nif PY_3_14_PLUS:\n    import notationlib",
        "import sys, os\nif sys.platform == 'win32':\n    os.startfile('x')",
        "import json, unittest\ndef f(self):\n    with self.assertRaises(AttributeError): json.nope",
        "x: int = reveal_type(1)",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nowhere import X",
        "def f(x):\n    return [y for y in x if (z := y)]",
        "class A:\n    b = 1\n    c = b\n    def f(self): return __class__",
        "def f():\n    global late\n    late = 1\nprint(late)",
        "import json\ndef f(json): return json.anything",
        "from os import *\nprint(getcwd())",
        "print(__file__)",
        "def f(a: int, *b, **c): del a; return b, c",
        "match x():\n    case [a, *b]: print(a, b)\ndef x(): return [1]",
        "import yaml_is_not_there_but_this_is_not_python_(",
    ],
)
def test_names_that_resolve(source: str) -> None:
    assert list(invented("pkg/new.py", source, Places(TREE), KNOWN)) == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nowhere", "there is no module `nowhere`"),
        ("import os.nowhere", "there is no module `os.nowhere`"),
        ("from other.nowhere import x", "there is no module `other.nowhere`"),
        ("if __name__ == '__main__':\n    start()", "the name `start` is defined nowhere"),
        ("from types import Traceback", "`types` has no name `Traceback`"),
        ("import json\nwith open(0): json.nope", "`json` has no name `nope`"),
        ("from pkg.nowhere import x", "there is no module `pkg.nowhere`"),
        ("from .nowhere import x", "there is no module `pkg.nowhere`"),
        ("from pkg.core import walk", "`pkg.core` has no name `walk`"),
        ("from pkg.star import walk", "`pkg.star` has no name `walk`"),
        ("from json import parse", "`json` has no name `parse`"),
        ("import json\njson.parse('1')", "`json` has no name `parse`"),
        ("import pkg.core as c\nc.walk()", "`pkg.core` has no name `walk`"),
        ("def f():\n    return undefined_thing(1)", "the name `undefined_thing` is defined nowhere"),
        ("class A:\n    def f(self):\n        return helper()", "the name `helper` is defined nowhere"),
    ],
)
def test_names_that_resolve_nowhere(source: str, says: str) -> None:
    assert [what for _, what in invented("pkg/new.py", source, Places(TREE), KNOWN)] == [says]


STRANGERS = {
    "proj/__init__.py": "",
    "proj/celery.py": "app = 1\n",  # where Django's projects keep it: it is `proj.celery`
    "proj/with/django/__init__.py": "",
    "alembic/env.py": "",
    "lib/mine.py": "x = 1\n",
}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("from celery import shared_task\nimport celery\ncelery.Celery()\nfrom celery.schedules import crontab", ""),
        ("import django.conf\nfrom django import forms", ""),
        ("from alembic.config import Config", ""),
        ("from proj.celery import nowhere", "`proj.celery` has no name `nowhere`"),
        ("from lib.mine import y", "`lib.mine` has no name `y`"),
        ("from mine import y", "`mine` has no name `y`"),
        ("import proj.nowhere", "there is no module `proj.nowhere`"),
    ],
)
def test_a_module_of_the_tree_does_not_hide_a_package_of_the_same_name(source: str, says: str) -> None:
    counted_on = known({}, "celery\nalembic\nproj\ndjango\n", "celery alembic proj django")
    places = Places(STRANGERS | {"proj/with/__init__.py": ""})
    assert "".join(what for _, what in invented("proj/new.py", source, places, counted_on)) == says


@pytest.mark.parametrize(
    "source",
    [
        "import ctypes, winreg\nfrom msvcrt import getch\nctypes.windll.kernel32(winreg.HKEY_USERS, getch)",
        "import os, signal, subprocess\nos.startfile('x', subprocess.STARTUPINFO, signal.CTRL_C_EVENT, os.O_BINARY)",
        "import asyncio, select, sys\nselect.kqueue(asyncio.ProactorEventLoop, sys.getwindowsversion())",
        "import sys, json\nassert sys.platform == 'win32'\njson.nope",
        "import sys, json\ndef f():\n    if sys.version_info < (3, 99):\n        return 1\n    return json.nope",
        "import json\nimport pytest\nif not HAS_IT:\n    pytest.skip('', allow_module_level=True)\njson.nope",
    ],
)
def test_what_only_another_system_has_is_not_invented(source: str) -> None:
    assert list(invented("a.py", source, Places({}), known({}))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import json\nif x():\n    raise OSError\njson.nope\ndef x(): pass",
        "import sys, json\nif sys.platform == 'win32':\n    print(1)\njson.nope",
        "import sys, json\njson.nope\nassert sys.platform == 'win32'",
        "import sys, json\ndef f():\n    if sys.version_info < (3, 99):\n        return 1\njson.nope",
    ],
)
def test_what_stands_behind_no_such_condition_is_looked_at(source: str) -> None:
    assert [what for _, what in invented("a.py", source, Places({}), known({}))] == ["`json` has no name `nope`"]


def test_a_function_called_top_binds_its_own_names() -> None:
    source = "class Stack:\n    def top(self, n):\n        at = n - 1\n        return self.items[at], nowhere\n"
    found = [what for _, what in invented("a.py", source, Places({}), known({}))]
    assert found == ["the name `nowhere` is defined nowhere"]


def test_a_folder_of_a_package_that_is_installed_needs_no_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`google.cloud` is such a one. The survey must not fail on it."""
    for name in ("made_whole/__init__.py", "made_whole/part/mod.py", "made_bare/cloud/mod.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    fine = "from made_whole.part import mod\nfrom made_bare.cloud.mod import x\nimport made_whole.part.mod\n"
    source = f"{fine}import made_whole.nowhere\nfrom made_whole.part.mod import y\n"
    found = [what for _, what in invented("a.py", source, Places({}), known({}))]
    assert found == ["there is no module `made_whole.nowhere`", "`made_whole.part.mod` has no name `y`"]


def test_only_what_the_change_brought_is_named() -> None:
    old, new = "import nowhere\n", "import nowhere\nimport neverwhere\n"
    told = survey([Edit("a.py", old, new)], {"a.py": new})
    assert told["symbols"] == [{"path": "a.py", "line": 2, "what": "there is no module `neverwhere`"}]


def test_a_new_package_may_bring_modules_of_any_name() -> None:
    new = Edit("a.py", "", "import bs4\n")
    manifest = Edit("pyproject.toml", "dependencies = []\n", "dependencies = ['beautifulsoup4']\n")
    bumped = Edit("pyproject.toml", "version = '1.0'\n", "version = '1.1'\n")
    for edits, count in (([new], 1), ([new, bumped], 1), ([new, manifest], 0)):
        assert len(survey(edits, {"a.py": new.new})["symbols"]) == count


def test_this_package_names_nothing_that_is_not_there() -> None:
    root = Path(__file__).parents[2] / "src"
    sources = {
        str(path.relative_to(root)): path.read_text()
        for path in root.rglob("quarterdeck/delivery/validation/survey/*.py")
    }
    assert sources
    found = [what for path, text in sources.items() for _, what in invented(path, text, Places(sources), known({}))]
    assert found == []
