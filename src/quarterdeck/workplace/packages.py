"""Which package indexes this machine is configured for, found by asking the package tools themselves.

Rules
- What pip and uv are configured for counts: their files, and the variables that are handed in; nothing else is read.
- Without a configured index it is the tools' own default, which pip knows; it is not written down here.
- Where an index keeps its files is asked of the index.
- Indexes in directories of this machine (`file:`) are left out: a sandbox cannot see them.
"""

import ast
import asyncio
import os
import re
import ssl
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.workplace.hosts import is_listed
from quarterdeck.workplace.proxy import Indexes

_MAIN_VARIABLES: Final = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_EXTRA_VARIABLES: Final = ("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
_CERTIFICATES: Final = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_UV_FILES: Final = (Path("/etc/uv/uv.toml"), Path("~/.config/uv/uv.toml"))
_TIMEOUT: Final = 20.0

# Run by an interpreter of its own: pip's internals are no interface, and an interpreter may have none.
_ASK_PIP: Final = """
import glob, os, subprocess, sys
try:
    import pip
except ImportError:
    import ensurepip
    sys.path[:0] = glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))
from pip._internal.models.index import PyPI
from pip._internal.configuration import Configuration
print(repr((PyPI.simple_url, PyPI.netloc, PyPI.file_storage_domain)))
configuration = Configuration(isolated=False)
configuration.load()
print(repr(list(configuration.items())))
"""


@dataclass(frozen=True, slots=True)
class PipFacts:
    """What pip says about itself."""

    simple_url: str = ""
    """Its default index."""
    hosts: tuple[str, ...] = ()
    """Of the default index and its files."""
    options: tuple[tuple[str, str], ...] = ()
    """Its configuration, from files and variables, the later the stronger: (`global.index-url`, value), …"""


@dataclass(frozen=True, slots=True)
class Configured:
    """Index addresses that were configured."""

    main: tuple[str, ...] = ()
    """In place of the default."""
    extra: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    """Hosts that pip may reach without a good certificate."""


def parse_pip(answer: str) -> PipFacts:
    """What the question to pip printed. Raises ValueError."""
    first, second, *_ = answer.splitlines()
    simple_url, *hosts = ast.literal_eval(first)
    flat: list[tuple[str, str]] = []
    for key, value in ast.literal_eval(second):
        # Newer versions of pip group their options by file.
        pairs = value.items() if isinstance(value, dict) else [(key, value)]
        flat += [(str(name), str(text)) for name, text in pairs]
    return PipFacts(simple_url, tuple(hosts), tuple(flat))


def _remote(values: Iterable[str]) -> tuple[str, ...]:
    urls = [part.partition("=")[2] if re.match(r"[\w.-]+=", part) else part for v in values for part in v.split()]
    return tuple(dict.fromkeys(url for url in urls if urlsplit(url).scheme in ("http", "https")))


def configured(facts: PipFacts, variables: Mapping[str, str], uv: Iterable[Mapping[str, Any]]) -> Configured:
    """All that is configured in pip's options, in variables and in uv's files (parsed TOML)."""
    main = [variables[name] for name in _MAIN_VARIABLES if name in variables]
    extra = [variables[name] for name in _EXTRA_VARIABLES if name in variables]
    trusted: list[str] = []
    for key, value in facts.options:
        option = key.rpartition(".")[2]
        {"index-url": main, "extra-index-url": extra, "trusted-host": trusted}.get(option, []).append(value)
    for file in uv:
        for table in (file, file.get("pip", {})):
            main += [table["index-url"]] if "index-url" in table else []
            extra += table.get("extra-index-url", [])
        for index in file.get("index", []):
            (main if index.get("default") else extra).append(str(index.get("url", "")))
    return Configured(_remote(main), _remote(extra), tuple(host for value in trusted for host in value.split()))


def host_entry(url: str) -> str:
    """The entry of an allow-list that lets a URL's host through."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    return host if parts.port is None else f"{host}:{parts.port}"


def file_hosts(page: str, base: str) -> tuple[str, ...]:
    """Hosts that the files of one package lie on, from an index's page (HTML or JSON: the simple repository API)."""
    urls = re.findall(r"""(?:href=|"url"\s*:\s*)["']([^"'#]+)""", page)
    absolute = (urljoin(base, url) for url in urls)
    return tuple(dict.fromkeys(host_entry(url) for url in absolute if urlsplit(url).scheme in ("http", "https")))


class Packages:
    """This machine's package configuration. `variables`: the relevant part of the environment."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)
        self._facts: PipFacts | None = None
        self._uv: tuple[Mapping[str, Any], ...] = ()

    async def indexes(self) -> Indexes:
        """What `default` means in a list of hosts. Raises BadConfiguration where it cannot be found out."""
        found = await self._configured()
        assert self._facts is not None
        named = (*found.main, *found.extra)
        hosts = [host_entry(url) for url in named]
        if not found.main:
            hosts += self._facts.hosts
        for url in named:
            hosts += await self._ask_index(url)
        if not hosts:
            raise BadConfiguration(
                "the package index of this machine cannot be found out",
                why="neither pip nor uv names one",
                fix="name the hosts in [sandbox] setup_network",
            )
        upstream = self._variables.get("HTTPS_PROXY") or self._variables.get("https_proxy")
        own = [urlsplit(url).hostname or "" for url in named]
        return Indexes(tuple(dict.fromkeys(hosts)), tuple(dict.fromkeys(own)), upstream)

    async def variables(self) -> dict[str, str]:
        """What package tools in a sandbox must be told, certificates excepted. May hold passwords of the index."""
        found = await self._configured()
        told = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_NO_CACHE_DIR": "1", "UV_NO_CACHE": "1"}
        if found.main:
            told |= {"PIP_INDEX_URL": found.main[0], "UV_DEFAULT_INDEX": found.main[0]}
        if found.extra:
            told |= {"PIP_EXTRA_INDEX_URL": " ".join(found.extra), "UV_INDEX": " ".join(found.extra)}
        if found.trusted:
            told["PIP_TRUSTED_HOST"] = " ".join(found.trusted)
        return told

    async def certificates(self) -> Path | None:
        """The file of certificates that this machine's package tools use, where one is configured."""
        await self._configured()
        assert self._facts is not None
        options = [value for key, value in self._facts.options if key.rpartition(".")[2] == "cert"]
        for value in (*(self._variables.get(name, "") for name in _CERTIFICATES), *reversed(options)):
            if value and _is_file(value):
                return Path(value)
        return None

    async def _configured(self) -> Configured:
        if self._facts is None:
            self._facts = await _ask_pip(self._variables)
            self._uv = tuple(_uv_files())
        return configured(self._facts, self._variables, self._uv)

    async def _ask_index(self, url: str) -> tuple[str, ...]:
        import httpx2  # noqa: PLC0415 - a tenth of what every start would load

        certificates = await self.certificates()
        page = f"{url.rstrip('/')}/pip/"
        try:
            async with httpx2.AsyncClient(
                verify=_context(certificates), timeout=_TIMEOUT, follow_redirects=True, trust_env=False
            ) as client:
                answer = await client.get(page)
        except httpx2.HTTPError:
            # It may still serve its files itself; if not, the refusal names the host that is missing.
            return ()
        hosts = file_hosts(answer.text[:1_000_000], str(answer.url))
        return tuple(host for host in hosts if not is_listed(host, 443, (host_entry(url),)))


def _context(certificates: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates)) if certificates else ssl.create_default_context()


def _is_file(path: str) -> bool:
    return Path(path).is_file()


def _uv_files() -> Iterable[Mapping[str, Any]]:
    for path in _UV_FILES:
        file = path.expanduser()
        if file.is_file():
            try:
                yield tomllib.loads(file.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise BadConfiguration(f"{file} is not TOML", why=str(error), fix=f"correct {file}") from error


async def _ask_pip(variables: Mapping[str, str]) -> PipFacts:
    environment = {"PATH": os.defpath, "HOME": str(Path.home()), **variables}
    for interpreter in (sys.executable, "python3"):
        try:
            process = await asyncio.create_subprocess_exec(
                interpreter,
                "-c",
                _ASK_PIP,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
            )
            async with asyncio.timeout(_TIMEOUT):
                answer, _ = await process.communicate()
            return parse_pip(answer.decode("utf-8"))
        except (OSError, TimeoutError, ValueError, SyntaxError):
            # No pip there: the next interpreter may have one, and configured indexes need none.
            continue
    return PipFacts()
