"""What a test runner prints, and the report that pytest writes: anything, because the code under test prints beside it.

Rules
- Nothing is raised, whatever was printed behind whichever command; what is said fits into one line.
- What is kept of it is bounded, and so is a trial's verdict about it.
"""

from collections.abc import Sequence

from quarterdeck.delivery.validation import evidence, proof
from quarterdeck.delivery.validation.checks import KEEP_LIMIT, judge
from quarterdeck.delivery.validation.findings import TestName
from quarterdeck.delivery.validation.runners import PYTEST, RUNNERS, UNITTEST
from quarterdeck.workplace.port import ExecResult

INSTRUMENTED = ("quarterdeck.delivery.validation",)
WORDS = (
    *("=== 1 passed in 0.1s ===", "no tests ran in ", "Ran 1 test in ", "OK (skipped=", "NO TESTS RAN", "--- PASS: "),
    *("ok  \ta\t0.1s", "[no test files]", "test result: ok. ", " passed; ", " failed", "Summary ", " tests run:"),
    *("Tests: ", "No tests found", " passing", "# tests ", "# pass ", "out of ", "Tests run: 1, Failures: 0, Errors: "),
    *("Failed: 1, Passed: ", "ok | 1 passed", "1 example, 0 failures", "\x1b[31m", "\x1b[", "PASSED a.py::", "FAILED "),
    *('<testsuite tests="1" skipped="', 'type="pytest.xfail"', "99999999999999999999", "\u0661", "\r\n", "\n\n\n"),
)
_COMMANDS = (
    "python3 -m pytest -q",
    "python3 -m unittest",
    "make",
    "npm test",
    "go test ./...",
    "sh a.sh && cargo test",
)
_LONGEST = 32 * 1024
_TESTS = (
    TestName(path="test_a.py", name="A::test_a", new=True),
    TestName(path="b/test_b.py", name="test_b", new=False),
)


def one(data: bytes) -> None:
    """Judge it as the output of each command, at some length."""
    head, _, rest = data.partition(b"\0")
    times = min(len(head) ** 3, _LONGEST // max(1, len(rest)))  # what repeats is how an output gets long
    stdout = rest * max(1, times)
    code = (0, 1, 5, None)[len(data) % 4]
    for command in _COMMANDS:
        result = judge(command, ExecResult(code, stdout, b"", 1.0), 60)
        assert len(result.output) <= KEEP_LIMIT
        assert "\n" not in result.reason
    text = stdout.decode("utf-8", "replace")
    for runner in RUNNERS:
        count = runner.executed(text)
        assert count is None or count >= 0
    for runner in (PYTEST, UNITTEST):
        proof.judge(proof.narrowed("python3 -m pytest", runner, _TESTS), code, text)
    counted = evidence.counted(text)
    assert counted is None or counted >= 0


def seeds() -> Sequence[bytes]:
    """What each runner says in the end, once and very often."""
    found = [
        "===== 3 passed, 1 skipped in 0.10s =====\nPASSED test_a.py::A::test_a\nFAILED b/test_b.py::test_b\n",
        "Ran 2 tests in 0.000s\n\nOK (skipped=1)\n",
        "ok  \ta\t0.002s [no tests to run]\n--- FAIL: TestA\n",
        "test result: ok. 0 passed; 0 failed\n  Summary [0.1s] 3 tests run: 3 passed\n",
        "Tests:       3 passed, 3 total\n\n  0 passing (1ms)\n# tests 1\n# pass 0\nℹ fail 1\n",
        "[INFO] Tests run: 3, Failures: 0, Errors: 0, Skipped: 1\nFailed: 0, Passed: 3, Skipped: 0\n",
        "OK (3 tests, 5 assertions)\nTests: 3, Skipped: 3\n 3 pass\nok | 3 passed | 0 failed\n2 examples, 0 failures\n",
        '<testsuite name="pytest" tests="3" skipped="1"><skipped type="pytest.xfail"/>\n',
        "\x1b[32m1 passed\x1b[0m in 0.1s",
        "\n",
        " \n",
        "OK (\n",
    ]
    return [prefix + b"\0" + text.encode() for text in found for prefix in (b"", b"a" * 30)]
