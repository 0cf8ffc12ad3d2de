"""What counts as "no test ran", and what must not."""

import pytest

from quarterdeck.delivery.validation.commands import ran_no_test, recognise
from quarterdeck.delivery.validation.judges import judges, same_scripts
from quarterdeck.delivery.validation.runners import CARGO, GO, JAVASCRIPT, NODE, PYTEST, UNITTEST, Runner

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
    # Noise pushed the summary out, or stands in its place.
    ("python -m unittest", 0, "x" * 500_000),
    ("cd sub && python -m unittest -q test_a", 0, "noise\n" * 50_000),
]

FINE = [
    ("pytest -q", 0, "3 passed in 0.10s"),
    ("pytest -q", 0, "1 passed, 2 skipped, 1 warning in 61.10s (0:01:01)"),
    ("pytest -q", 0, "=== 1 xfailed in 0.10s ==="),
    ("pytest -qq", 0, "."),
    ("pytest --version", 0, "pytest 9.2.0"),
    ("python -m unittest", 0, "Ran 2 tests in 0.000s\n\nOK (skipped=1)"),
    ("go test ./...", 0, "?   \texample.com/a\t[no test files]\nok  \texample.com/b\t0.002s"),
    ("go test ./...", 0, "ok  \texample.com/b\t(cached)"),
    ("go vet ./...", 0, ""),
    ("cargo test", 0, "test result: ok. 3 passed; 0 failed\nrunning 0 tests\ntest result: ok. 0 passed; 0 failed\n"),
    ("cargo build", 0, "Finished"),
    ("npx jest", 0, "Tests:       3 passed, 3 total"),
    ("npx vitest run", 0, "      Tests  3 passed (3)"),
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
        ("python3 app.py", ["app.py"]),
        ("sh", []),
        ("cat 'unbalanced", []),
    ],
)
def test_what_a_check_runs(command: str, files: list[str]) -> None:
    assert sorted(judges([command], BASE)) == files


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
    assert same_scripts(b'{"scripts": {"test": "jest"}}', after) is same
