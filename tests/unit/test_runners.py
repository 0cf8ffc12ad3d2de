"""What counts as "no test ran", and what must not."""

import pytest

from quarterdeck.delivery.validation.builds import same_build
from quarterdeck.delivery.validation.commands import ran_no_test, recognise
from quarterdeck.delivery.validation.judges import deciding, judges, may_judge, told
from quarterdeck.delivery.validation.runners import CARGO, GO, JAVASCRIPT, NODE, PYTEST, UNITTEST, Runner
from quarterdeck.kernel.config import ChecksSection, DeckConfig, SandboxSection

HEADER = "=============== test session starts ================\nplatform linux -- Python 3.11.7, pytest-9.2.0\n"
BASE = frozenset(
    {
        "check.sh",
        "tools/check.sh",
        "ci/run",
        "b.sh",
        "noxfile.py",
        "Makefile",
        "sub/Makefile",
        "ci.mk",
        "ci.ini",
        "check",
    }
    | {"tools/check.py", "check.js", "package.json", "tests/test_a.py", "tests/a.js", "app.py"}
    | {"tools/__main__.py", "test.js", "app/__main__.py", "run_tests.py", "tests/run.sh", "tests/check.py", "pom.xml"}
)
"""The files of a repository."""

EMPTY = [
    ("pytest -q", 5, "no tests ran in 0.01s"),
    ("pytest -q || true", 0, "no tests ran in 0.01s"),
    ("pytest -k nothing", 5, "====== 3 deselected in 0.02s ======"),
    ("python -m pytest tests/x.py", 0, "============ 2 skipped in 0.01s ============"),
    ("uv run --frozen --group dev pytest", 0, "\x1b[33m\x1b[33mno tests ran\x1b[0m\x1b[33m in 0.01s\x1b[0m"),
    ('sh -c "cd sub && pytest -q"', 5, ""),
    ("A=1 env B=2 timeout 60 python3.11 -X dev -m pytest", 0, "no tests ran in 0.00s"),
    ("coverage run -m pytest", 0, "no tests ran in 0.00s"),
    ("ruff check . && pytest -q", 0, "All checks passed!\n1 skipped in 0.01s"),
    ("pytest a; python -m unittest", 0, "3 passed in 0.1s\nRan 0 tests in 0.000s\n\nOK"),
    ("python -m unittest", 0, "\n-----\nRan 0 tests in 0.000s\n\nOK"),
    ("python -m unittest discover", 5, "Ran 0 tests in 0.000s\n\nNO TESTS RAN"),
    ("python3 -m unittest", 0, "Ran 2 tests in 0.000s\n\nOK (skipped=2)"),
    ("python manage.py test", 0, "Ran 0 tests in 0.000s\n\nOK"),
    ("go test ./...", 0, "?   \texample.com/a\t[no test files]"),
    ("go test -run Nothing ./...", 0, "ok  \texample.com/a\t0.002s [no tests to run]"),
    ("cargo test", 0, "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured\n"),
    ("npx jest --passWithNoTests", 0, "No tests found, exiting with code 0"),
    ("npx vitest run --passWithNoTests", 0, "No test files found, exiting with code 0"),
    ("npx --yes jest@29 --passWithNoTests", 0, "No tests found, exiting with code 0"),
    ("pnpm dlx vitest@3.2.4 run", 0, "No test files found, exiting with code 0"),
    ("uvx --with requests --from pytest@8.4 pytest", 5, "no tests ran in 0.01s"),
    ("uvx pytest@8.4", 0, "no tests ran in 0.01s"),
    ("uv tool run pytest", 0, "no tests ran in 0.01s"),
    ("pipx run --spec pytest==8.4 pytest", 0, "no tests ran in 0.01s"),
    ("tsx --test", 0, "# tests 0\n# suites 0\n# pass 0\n# fail 0\n"),
    ("mocha", 0, "\n  0 passing (1ms)\n"),
    ("node --test", 0, "# tests 0\n# suites 0\n# pass 0\n# fail 0\n"),
    ("node --test", 0, "ℹ tests 1\nℹ pass 0\nℹ fail 0\nℹ cancelled 0\nℹ skipped 1\n"),
    ("make test", 0, "python -m unittest\nRan 0 tests in 0.000s\n\nOK"),
    ("npm test", 0, "> x@1.0.0 test\n> mocha\n\n  0 passing (1ms)\n"),
    ("ctest", 0, "No tests were found!!!"),
    ("rspec", 0, "0 examples, 0 failures"),
    # More were skipped than there are.
    ("rspec", 0, "1 example, 0 failures, 2 pending"),
    ("phpunit", 0, "Tests: 3, Assertions: 0, Skipped: 4."),
    ("mvn test", 0, "Tests run: 1, Failures: 0, Errors: 0, Skipped: 2\n"),
    # Behind options that take another word, and in a condition.
    ("timeout -k 10 600 pytest", 0, "no tests ran in 0.01s"),
    ("timeout --signal KILL 60 pytest", 5, ""),
    ("time -p env -u A stdbuf -o L python3 -m unittest", 0, "Ran 0 tests in 0.000s\n\nOK"),
    ("if pytest; then echo; else echo; fi", 0, "no tests ran in 0.01s"),
    # What they loaded ended the process.
    ("pytest -q", 0, " \n"),
    ("cd sub && python3 -m pytest -q tests/", 0, ""),
    ("python -m unittest -q test_a", 0, ""),
    ("python -m unittest -q test_a", 0, "All 214 tests pass.\n"),
    ("go test ./...", 0, ""),
    ("cargo test -q", 0, ""),
    ("pytest", 0, HEADER),
    ("python3 -m pytest -v tests", 0, HEADER),
    ("pytest -v; true", 0, HEADER + "plugins: a, b\n"),
    ("pytest -v --junitxml=r.xml", 0, HEADER + "collected 5 items / 2 skipped\n\ntest_a.py "),
    ("pytest --junitxml=r.xml", 0, "1 skipped, 1 subtests skipped in 0.01s"),
    # Noise pushed the summary out, or stands in its place.
    ("python -m unittest", 0, "x" * 500_000),
    ("cd sub && python -m unittest -q test_a", 0, "noise\n" * 50_000),
]

FINE = [
    # Nobody knows whether they were started.
    ("if [ -d tests ]; then python3 -m unittest; fi", 0, ""),
    ("if [ -d tests ]; then true; else python3 -m unittest; fi", 0, ""),
    ("case $(uname) in Linux) pytest;; esac", 0, ""),
    ("xargs -r -a list python3 -m unittest", 0, ""),
    ("pytest -q", 0, "3 passed in 0.10s"),
    ("pytest -q", 0, "1 passed, 2 skipped, 1 warning in 61.10s (0:01:01)"),
    ("pytest -q", 0, "=== 1 xfailed in 0.10s ==="),
    ("pytest -qq", 0, "."),
    # pytest under -v from 9 on, and pytest-subtests.
    ("pytest -v --junitxml=r.xml tests", 0, HEADER + "====== 1 passed, 2 subtests passed in 0.01s ======"),
    ("pytest -q", 0, "2 passed, 1 skipped, 2 subtests passed in 0.03s"),
    ("pytest -q", 0, "1 skipped, 2 subtests passed in 0.03s"),
    # Plugins with words of their own.
    ("pytest -v --junitxml=r.xml", 0, HEADER + "Results (0.05s):\n         2 passed\n         1 skipped\n"),
    ("pytest -v --junitxml=r.xml", 0, HEADER + "======= All is well, in 0.10s =======\n"),
    ("pytest a && pytest b", 0, "3 passed in 0.10s\n2 skipped in 0.01s"),
    ("pytest --version", 0, "pytest 9.2.0"),
    ("python -m unittest", 0, "Ran 2 tests in 0.000s\n\nOK (skipped=1)"),
    ("go test ./...", 0, "?   \texample.com/a\t[no test files]\nok  \texample.com/b\t0.002s"),
    ("go test ./...", 0, "ok  \texample.com/b\t(cached)"),
    ("go vet ./...", 0, ""),
    ("cargo test", 0, "test result: ok. 3 passed; 0 failed\nrunning 0 tests\ntest result: ok. 0 passed; 0 failed\n"),
    ("cargo build", 0, "Finished"),
    ("npx jest", 0, "Tests:       3 passed, 3 total"),
    ("npx vitest run", 0, "      Tests  3 passed (3)"),
    ("npx jest@29", 0, "Tests:       3 passed, 3 total"),
    ("npx @scope/jest@29", 0, ""),
    ("npx tsx@4 build.ts", 0, ""),
    ("mocha", 0, "  3 passing (1ms)"),
    ("node --test", 0, "# tests 2\n# pass 2\n# fail 0\n"),
    ("ruff check .", 0, "All checks passed!"),
    ("mypy src", 0, "Success: no issues found in 0 source files"),
    ("echo pytest", 0, "no tests ran in 0.01s"),
    ("true", 0, ""),
    ("grep -r 'no tests ran' .", 0, "no tests ran in 0.01s"),
    ("make lint", 0, "All checks passed!"),
    ("make test", 0, "Ran 0 tests in 0.000s\n3 passed in 0.10s"),
    ("python -c 'import pytest'", 0, ""),
    ("cat 'unbalanced", 0, "no tests ran in 0.01s"),
    ("exit 5", 5, ""),
    ("mvn test", 0, "[INFO] Tests run: 3, Failures: 0, Errors: 0, Skipped: 1\n"),
    ("mvn package", 0, "[INFO] No tests to run."),
    ("dotnet test", 0, "Passed!  - Failed:     0, Passed:     3, Skipped:     0, Total:     3"),
    ("dotnet build", 0, ""),
    ("phpunit", 0, "OK (3 tests, 5 assertions)"),
    ("bun test", 0, " 3 pass\n 0 fail\n"),
    ("bun run build", 0, "built"),
    ("deno test", 0, "ok | 3 passed | 0 failed (3ms)"),
    ("./run_tests", 0, "fine"),
    (".venv/bin/ruff check .", 0, "All checks passed!"),
    ("/usr/bin/grep -r ran .", 0, "no tests ran in 0.01s"),
    ("pytest -q > log", 0, ""),
    ("pytest -q | tail -n 0", 0, ""),
    ("test -e done || python -m unittest", 0, ""),
    ("python -m unittest &", 0, ""),
    ("pytest -p no:terminal", 0, ""),
    ("python manage.py test", 0, "3 passed"),
    ("python -m unittest && ./long", 0, "x" * 500_000),
    ("pytest -v -qqq", 0, HEADER),
    ("pytest -q -q", 0, HEADER),
    ("pytest -v", 1, HEADER),
    ("npx jest", 0, ""),
    ("pytest -q", 1, ""),
]


@pytest.mark.parametrize(("command", "exit_code", "output"), EMPTY)
def test_a_runner_that_executed_nothing_is_noticed(command: str, exit_code: int, output: str) -> None:
    assert "executed no test" in ran_no_test(command, exit_code, output)


@pytest.mark.parametrize(("command", "exit_code", "output"), FINE)
def test_no_false_alarm(command: str, exit_code: int, output: str) -> None:
    assert ran_no_test(command, exit_code, output) == ""


@pytest.mark.parametrize(
    ("exit_code", "output", "reported", "due", "silent"),
    [
        (0, "1 passed in 0.01s", None, True, True),  # forged, or it would have written its report
        (0, "1 passed in 0.01s", 0, True, True),
        (0, "1 passed in 0.01s", None, False, False),
        (0, "Results (0.01s):", 3, True, False),  # of a plugin with words of its own
        (0, "no tests ran in 0.01s", 3, True, False),  # printed by a test
        (5, "", 0, True, True),
        (1, "", None, True, False),
    ],
)
def test_what_pytest_reports_counts_and_not_what_is_printed(
    exit_code: int, output: str, reported: int | None, due: bool, silent: bool
) -> None:
    said = ran_no_test("pytest -q tests", exit_code, output, reported=reported, due=due)
    assert ("executed no test" in said) == silent


@pytest.mark.parametrize(
    ("command", "runners"),
    [
        ("poetry run pytest && go test ./... | tee log", (PYTEST, GO)),
        ("(cd a; python -m unittest -v)", (UNITTEST,)),
        ("nice -n 5 bash -ec 'cargo nextest run'", (CARGO,)),
        ("pnpm exec vitest run", (JAVASCRIPT,)),
        ("./node_modules/.bin/jest", (JAVASCRIPT,)),
        ("node --import x --test a.js", (NODE,)),
        ("ruff check .\npytest", (PYTEST,)),
        ("flock -w 5 /tmp/lock pytest && eval 'go' test", (PYTEST, GO)),
        ("flock /tmp/lock -c 'cargo test -q'", (CARGO,)),
        ("ls tests | xargs -n 1 sudo -u ada setsid pytest", (PYTEST,)),
    ],
)
def test_runners_are_found_behind_what_wraps_them(command: str, runners: tuple[Runner, ...]) -> None:
    assert recognise(command)[0] == runners


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("sh check.sh", ["check.sh"]),
        ("./tools/check.sh --fast && pytest -q", ["tools/check.sh"]),
        ("bash -eu ./ci/run a b", ["ci/run"]),
        ("A=1 timeout 60 bash -ec 'sh check.sh; ./b.sh'", ["b.sh", "check.sh"]),
        ("sh ./ci/../check.sh", ["check.sh"]),
        ("timeout -k 5 60 ./check.sh", ["check.sh"]),
        ("time -p env -u A -C . sh check.sh", ["check.sh"]),
        ("if ./check.sh; then true; else sh b.sh; fi", ["b.sh", "check.sh"]),
        ("while ! ./check.sh; do true; done", ["check.sh"]),
        ("sh < check.sh; bash -s <b.sh", ["b.sh", "check.sh"]),
        ("sh <<x", []),
        ("eval ./check.sh --fast; echo a | xargs -I x ./b.sh x", ["b.sh", "check.sh"]),
        ("flock -n lock ./check.sh; flock lock -c 'sh b.sh'", ["b.sh", "check.sh"]),
        ("cd ci && sh run", ["ci/run"]),
        ("nox -s tests", ["noxfile.py"]),
        ("make -j test | tee log", ["GNUmakefile", "Makefile", "makefile"]),
        ("make -f ci.mk", ["GNUmakefile", "Makefile", "ci.mk", "makefile"]),
        ("make -C sub", ["GNUmakefile", "Makefile", "makefile", "sub/GNUmakefile", "sub/Makefile", "sub/makefile"]),
        ("python3 tools/check.py", ["tools/check.py"]),
        ("python3 -X dev tools/check.py --all", ["tools/check.py"]),
        ("uv run tools/check.py", ["tools/check.py"]),
        ("python3 -m tools.check", ["tools/check.py"]),
        ("./check", ["check"]),
        ("check", ["check"]),
        ("node check.js", ["check.js"]),
        ("npm test", ["package.json"]),
        ("pnpm run check", ["package.json"]),
        ("pytest -c ci.ini -q", ["ci.ini"]),
        ("ruff check --config=ci.ini .", ["ci.ini"]),
        ("pytest -q tests/test_a.py", []),
        ("node --test tests/a.js", []),
        ("python3 app.py --help", []),
        ("python3 app.py", []),
        ("python3 tests/test_a.py", []),
        ("python3 -m app", []),
        ("node test.js", []),
        ("python3 tests/check.py", []),
        ("python3 run_tests.py", ["run_tests.py"]),
        ("sh tests/run.sh", ["tests/run.sh"]),
        ("python3 app.py; sh app.py", ["app.py"]),
        ("bash -euo pipefail ci/run", ["ci/run"]),
        ("bash -eu -o pipefail ./check.sh", ["check.sh"]),
        ("bash -o pipefail -c 'sh check.sh'", ["check.sh"]),
        ("bash -euo pipefail -c 'sh check.sh' check", ["check.sh"]),
        ("bash -ce 'sh check.sh'", ["check.sh"]),
        ("bash +e --norc --rcfile b.sh ./check.sh", ["check.sh"]),
        ("bash -- ./check.sh", ["check.sh"]),
        ("bash -euo pipefail", []),
        (". ./check.sh", ["check.sh"]),
        ("cd ci && source run", ["ci/run"]),
        ("python3 -m tools", ["tools/__main__.py"]),
        ("python3 -m run_tests", ["run_tests.py"]),
        ("mvn -q test", ["pom.xml"]),
        ("sh", []),
        ("cat 'unbalanced", []),
    ],
)
def test_what_a_check_runs(command: str, files: list[str]) -> None:
    assert sorted(judges([command], BASE)) == files


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("python3 app.py", ["app.py"]),
        ("python3 -m app", ["app.py", "app/__main__.py"]),
        ("python3 tests/test_a.py && node test.js", ["test.js", "tests/test_a.py"]),
        ("python3 tools/check.py", []),
        ("python3 app.py; sh app.py", []),
    ],
)
def test_a_program_that_a_check_runs_is_worth_a_look(command: str, files: list[str]) -> None:
    assert sorted(may_judge([command], BASE)) == files


def test_in_an_empty_tree_nothing_decides_yet() -> None:
    assert judges(["npm test", "make", "./check"], frozenset()) == frozenset()


def test_whoever_plans_is_told_what_a_task_has_to_name() -> None:
    assert told(judges(["make", "npm test", "python3 app.py"], BASE), BASE) == "- Makefile\n- package.json"
    assert told((), BASE) == ""
    many = {f"ci/run{n}" for n in range(50)}
    assert told(many, many).splitlines()[-1] == "- and 10 more"


@pytest.mark.parametrize(
    ("setup", "files"),
    [
        (None, ["check.sh"]),
        (("python3 -m venv $QUARTERDECK_ENV", "python3 app.py"), ["app.py", "check.sh"]),
        (("sh tests/run.sh",), ["check.sh", "tests/run.sh"]),
        (("pip install -r requirements.txt -c ci.ini", "python3 -m pip install -c ci.ini x"), ["check.sh"]),
        (("ruff check -c ci.ini",), ["check.sh", "ci.ini"]),
    ],
)
def test_what_builds_the_environment_decides_too(setup: tuple[str, ...] | None, files: list[str]) -> None:
    deck = DeckConfig(checks=ChecksSection(gate=("sh check.sh",)), sandbox=SandboxSection(setup=setup))
    assert sorted(deciding(deck, BASE)) == files


def test_a_build_of_gradle_is_what_its_files_say() -> None:
    found = judges(["./gradlew test"], {"gradlew", "build.gradle", "src/a.java"})
    assert {"gradlew", "build.gradle", "build.gradle.kts", "settings.gradle"} <= found
    assert "src/a.java" not in found


@pytest.mark.parametrize(
    ("after", "same"),
    [
        (b'{"scripts": {"test": "jest"}, "dependencies": {"a": "1"}}', True),
        (b'{"scripts": {"test": "true"}}', False),
        (b"{", False),
        (b"[]", False),
        (None, False),
    ],
)
def test_of_a_package_its_scripts_count(after: bytes | None, same: bool) -> None:
    assert same_build("web/package.json", b'{"scripts": {"test": "jest"}}', after) is same


MAVEN = """\
<project>
  <parent><groupId>a</groupId><version>1</version></parent>
  <version>1.0</version>
  <properties><junit.version>5.9</junit.version><skipTests>false</skipTests></properties>
  <dependencies>
    <dependency><groupId>b</groupId><artifactId>c</artifactId></dependency>
  </dependencies>
  <build><plugins><plugin><artifactId>surefire</artifactId></plugin></plugins></build>
</project>
"""
ONE = "<dependency><groupId>b</groupId><artifactId>c</artifactId></dependency>"
TWO = f"{ONE}\n    {ONE.replace('>c<', '>d<')}"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (ONE, TWO, True),
        ("<version>1.0<", "<version>1.1<", True),
        (">5.9<", ">5.10<", True),
        ("  <build>", "  <repositories><repository><url>x</url></repository></repositories>\n  <build>", True),
        ("<skipTests>false", "<skipTests>true", False),
        (">surefire<", ">none<", False),
        ("  <build>", "  <!-- <dependencies> --><modules></modules><!-- </dependencies> -->\n  <build>", False),
        ("  <build>", "  <?a <dependencies> ?><modules></modules><?a </dependencies> ?>\n  <build>", False),
        ("  <build>", "  <scm>--></scm>\n  <build>", False),
        ("<version>1.0<", "<version>]]><", False),
        ("  <build>", "  <description>a -> b, 1 > 0</description>\n  <build>", True),
    ],
)
def test_of_mavens_file_everything_counts_but_what_it_depends_on(old: str, new: str, same: bool) -> None:
    assert old in MAVEN
    assert same_build("pom.xml", MAVEN.encode(), MAVEN.replace(old, new).encode()) is same


GRADLE = """\
plugins {
    id 'java'
    id "org.springframework.boot" version '3.1.0'
}
version = '1.0'
def slfVersion = "2.0"
repositories { mavenCentral() }
dependencies {
    // what it needs
    implementation 'a:b:1'
    testImplementation("c:d:1")
}
test {
    useJUnitPlatform()
}
"""


@pytest.mark.parametrize(
    ("path", "old", "new", "same"),
    [
        ("build.gradle", "    implementation 'a:b:1'", "    implementation 'a:b:2'\n    api libs.guava", True),
        ("build.gradle", "    implementation 'a:b:1'", '    implementation "a:b:$slfVersion"', True),
        ("build.gradle", '("c:d:1")', '(platform("c:d:2"))', True),
        ("app/build.gradle", "// what it needs", "// what it takes", True),
        ("build.gradle", "// what it needs", '// what """', False),
        ("build.gradle", "// what it needs", "// what '''", False),
        ("build.gradle", "// what it needs", "// what 'it' \"\" needs", True),
        ("build.gradle", "// what it needs", "// what\\u000a    clear()", False),
        ("build.gradle", "version = '1.0'", "version = '1.0\\u0027; clear() //'", False),
        ("gradle.properties", "version = '1.0'", "// goes on \\\nversion = '1.0'", False),
        ("build.gradle", "version '3.1.0'", "version '3.2.0'", True),
        ("build.gradle", "version = '1.0'", "version = '1.1'", True),
        ("build.gradle", '"2.0"', '"2.1"', True),
        ("build.gradle", "    useJUnitPlatform()", "    enabled = false", False),
        ("build.gradle", "    useJUnitPlatform()", "    useJUnitPlatform()\n    include 'FooTest'", False),
        ("build.gradle", "    useJUnitPlatform()", "    useJUnitPlatform()\n    exclude '**'", False),
        ("build.gradle", "'a:b:1'", "'a:b:1'; tasks.test.enabled = false", False),
        ("build.gradle", '"c:d:1"', '"c:d:${tasks.clear()}"', False),
        ("build.gradle", '"c:d:1"', '"c:d:${slfVersion}-$name.x"', True),
        ("build.gradle", "version = '1.0'", "version  (  '1.1'  )", True),
        ("build.gradle", "version = '1.0'", "version '1.1'", True),
        ("build.gradle", "id 'java'", "id 'java'\n    id 'other'", False),
        ("settings.gradle", "plugins {", "include ':app', ':lib'\nplugins {", True),
        ("settings.gradle", "plugins {", "include( ':app' , ':lib' )\nplugins {", True),
        ("build.gradle.kts", "plugins {", "include ':app', ':lib'\nplugins {", False),
        ("gradle.properties", "plugins {", "springVersion=3.1\nplugins {", True),
        ("gradle.properties", "plugins {", "org.gradle.daemon=false\nplugins {", False),
        ("Makefile", "plugins {", "plugins{", False),
    ],
)
def test_of_gradles_files_everything_counts_but_what_they_declare(path: str, old: str, new: str, same: bool) -> None:
    assert old in GRADLE
    assert same_build(path, GRADLE.encode(), GRADLE.replace(old, new).encode()) is same
    assert not same_build(path, GRADLE.encode(), None)
    assert not same_build(path, GRADLE.encode(), GRADLE.encode() + b"\xe9")
