"""Of files that say what a launcher does and also what a project depends on: whether two versions do the same. Pure.

Rules
- Of a `package.json` its scripts count, and nothing else.
- Of Maven's and Gradle's files all counts but what a project declares of itself and of others: dependencies,
  repositories, versions. A line that could do anything else than declare counts.
- What cannot be told is not the same.
- An agent wrote one of the two, and everybody waits for the answer: no expression takes the same part of a line in more
  than one way, or tries a run of space again from each of its characters.
"""

import json
import posixpath
import re
from typing import Any, Final

PACKAGE: Final = "package.json"
POM: Final = "pom.xml"
_GRADLE: Final = frozenset(
    ("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "gradle.properties")
)
KNOWN: Final = _GRADLE | {PACKAGE, POM}
"""Names of the files of which it can be told."""

# No comment or the like may open or close in what is left out, else what remains would not be what Maven reads.
_OF_MAVEN: Final = re.compile(
    r"<(dependencies|dependencyManagement|repositories|licenses|developers|scm)>(?:(?!</?\1>|<[!?]|-->|\]\]>).)*</\1>"
    r"|<(version|name|description|url|inceptionYear|[\w.-]*version)>(?:(?!-->|\]\]>)[^<])*</\2>",
    re.DOTALL,
)
_VERSION: Final = r"""["'][\w.+-]*["']"""
_WHAT: Final = (
    r"""(?:["'](?:[^"'\n()$\\]|\$(?=\w)|\$\{[\w.]+\})*["']|libs\.[\w.]+"""
    r"""|(?:project|kotlin|platform)\([ \t]*(?:["'][\w:./-]*["']|libs\.[\w.]+)[ \t]*\))"""
)
# No backslash anywhere: older Groovy takes `\u000a` and `\u0027` for what they stand for, in strings and comments, too.
_OF_GRADLE: Final = re.compile(
    rf"""(?:(?:\w*(?:[iI]mplementation|[aA]pi|[cC]ompileOnly|[rR]untimeOnly|[aA]nnotationProcessor)|kapt|ksp|classpath"""
    rf"""|compile|runtime|testCompile|testRuntime)(?:[ \t]+{_WHAT}|[ \t]*\([ \t]*{_WHAT}[ \t]*\))"""
    rf"""|(?:mavenCentral|google|mavenLocal|gradlePluginPortal)\(\)"""
    rf"""|(?:rootProject\.name|version|group|description)(?:[ \t]*[=(]|[ \t])[ \t]*["'][^"'\n$\\]*["'][ \t]*\)?"""
    rf"""|[\w.-]*[vV]ersion[ \t]*=[ \t]*[\w.+-]+|(?:val|def)[ \t]+\w*[vV]ersion[ \t]*=[ \t]*{_VERSION}"""
    r"""|//(?:(?!\*/|\"{3}|'{3})[^\\\n])*)?"""
)
_MODULES: Final = re.compile(
    r"""include[ \t]*(?:\([ \t]*)?["'][\w:./-]+["'](?:[ \t]*,[ \t]*["'][\w:./-]+["'])*[ \t]*\)?"""
)
"""In the settings alone: in a build it chooses tests."""
_PLUGIN: Final = re.compile(
    rf"""^(id(?:[ \t]+["'][\w.-]+["']|\(["'][\w.-]+["']\))|kotlin\(["'][\w.-]+["']\))[ \t]+version[ \t]+{_VERSION}$"""
)


def same_build(path: str, before: bytes | None, after: bytes | None) -> bool:
    """Whether two versions of that file have a launcher do the same; None = it is not there."""
    name = posixpath.basename(path)
    if name == PACKAGE:
        one, other = _scripts(before), _scripts(after)
        return one is not None and one == other
    if before is None or after is None or name not in KNOWN:
        return False
    try:
        one, other = before.decode("utf-8"), after.decode("utf-8")
    except UnicodeDecodeError:
        return False
    if name == POM:
        return _maven(one) == _maven(other)
    settings = name.startswith("settings.")
    return _gradle(one, settings=settings) == _gradle(other, settings=settings)


def _scripts(data: bytes | None) -> Any:
    """The scripts of a package; None = it cannot be told."""
    try:
        package = json.loads((data or b"null").decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return package.get("scripts", {}) if isinstance(package, dict) else None


def _maven(text: str) -> list[str]:
    return _OF_MAVEN.sub("", text).split()


def _gradle(text: str, *, settings: bool) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    left = [line for line in lines if not _OF_GRADLE.fullmatch(line) and not (settings and _MODULES.fullmatch(line))]
    return [_PLUGIN.sub(r"\1", line) for line in left]
