"""What may start a run from outside, and where its result goes: the operator's part of deck.toml, as values.

Rules
- Only the operator's own file may hold these sections: a repository cannot open a door.
- A secret or token is never a value here. What stands here is the name of a variable of the operator's environment.
- A trigger says everything about its run beforehand. What comes from outside fills named places of its goal, nothing
  else.
"""

import re
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from quarterdeck.kernel.entities import Usd, Value

_NAME: Final = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REMOTE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]*")


def _trigger_name(text: str) -> str:
    if not _NAME.fullmatch(text) or len(text) > 60:
        raise ValueError("the name of a trigger is lower-case letters and digits, with single `-` or `_` between them")
    return text


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise ValueError("the name of an environment variable belongs here, never the secret itself")
    return text


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket without the other one
        sound = False
    if not sound:
        raise ValueError("an address of the form https://host/path belongs here")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address holds no user or password; name a variable with the secret")
    return text.rstrip("/")


def is_remote(repository: str) -> bool:
    """Whether a repository is named as `OWNER/NAME` of the GitHub server, rather than by its path here. Pure."""
    return _REMOTE.fullmatch(repository) is not None


TriggerName = Annotated[str, AfterValidator(_trigger_name)]
VariableName = Annotated[str, AfterValidator(_variable)]
Address = Annotated[str, AfterValidator(_address)]

NeedKind = Literal["question", "approval", "incident", "failed", "waiting", "trigger"]
"""What can need a person: an agent's question, an approval, an incident, a run that failed, a run that waits, a trigger
that could not start its run."""
NEED_KINDS: Final[tuple[NeedKind, ...]] = ("question", "approval", "incident", "failed", "waiting", "trigger")


class GithubSection(Value):
    """The GitHub server that issues come from and pull requests go to."""

    api: Address = "https://api.github.com"
    """Address of its REST API; of GitHub Enterprise `https://HOST/api/v3`."""
    git: Annotated[str, AfterValidator(lambda text: _address(text) if text else text)] = ""
    """Address that `OWNER/NAME.git` is appended to for git; unset = the one that belongs to `api`."""
    token_env: VariableName = "GITHUB_TOKEN"
    """Name of the variable that holds the token: contents, issues and pull requests, read and write."""

    @property
    def clones(self) -> str:
        """Address that `OWNER/NAME.git` is appended to."""
        if self.git:
            return self.git
        parts = urlsplit(self.api)
        host = parts.netloc.removeprefix("api.") if parts.hostname == "api.github.com" else parts.netloc
        return f"{parts.scheme}://{host}"


class TriggerSection(Value):
    """What starts a run without a person at the keyboard: a webhook of GitHub, any signed webhook, or the clock."""

    kind: Literal["github", "webhook", "cron"]
    """Who fires it: GitHub's events, anybody who has the secret, the clock."""
    repository: str = Field(min_length=1, max_length=4_000)
    """Path of a repository on this machine, or `OWNER/NAME` on the GitHub server: the deck keeps a clone of that."""
    goal: str | None = Field(default=None, min_length=1, max_length=16_000)
    """The goal; `{name}` stands for a field of what came, quoted and marked as coming from outside."""
    plan: str | None = Field(default=None, min_length=1, max_length=4_000)
    """A plan file instead of a goal: an absolute path."""
    secret_env: VariableName | None = None
    """Name of the variable that holds the webhook's secret."""
    labels: tuple[str, ...] = Field(default=(), max_length=50)
    """GitHub: an issue that gets one of these labels starts a run."""
    command: str | None = Field(default=None, min_length=2, max_length=100)
    """GitHub: a comment on an issue that begins with this word starts a run, such as `/quarterdeck`."""
    authors: tuple[str, ...] = Field(default=(), max_length=1_000)
    """GitHub: who may start it; unset = the repository's owner, members and collaborators."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Webhook: field of the goal to its place in the JSON body, such as `title = "ticket.title"`."""
    subject: str | None = None
    """Webhook: the field that says what it is about; there is one unfinished run about one thing."""
    schedule: str | None = Field(default=None, max_length=200)
    """Cron: five fields, as in `30 2 * * MON-FRI`."""
    timezone: str = Field(default="UTC", max_length=100)
    """Cron: where the schedule's hours are read, such as `Europe/Berlin`."""
    missed: Literal["once", "skip"] = "skip"
    """Cron: what happens about times at which nothing served the deck: one run for all of them, or none."""
    base: str | None = Field(default=None, min_length=1, max_length=1_000)
    """Revision to start from, and the branch that the pull request is for; unset = HEAD, the default branch."""
    into: str | None = Field(default=None, min_length=1, max_length=1_000)
    """Branch to land on; unset = `[deck] into`."""
    agent: str | None = None
    """Agent of the tasks that name none."""
    budget: Usd | None = None
    """What one run may spend at most, USD; unset = `[budget] run`."""
    max_parallel: int | None = Field(default=None, ge=1, le=1000)
    """Attempts of one run at the same time."""
    publish: bool = True
    """Push the branch and open a pull request at the end, where the repository is on the GitHub server."""
    per_hour: int = Field(default=10, ge=1, le=1_000)
    """Runs that it may start within any hour; what comes earlier waits for its turn."""
    concurrent: int = Field(default=3, ge=1, le=1_000)
    """Unfinished runs of it at the same time; the clock skips its turn, the rest waits."""
    waiting: int = Field(default=20, ge=0, le=1_000)
    """How many may wait for their turn; more are refused."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.goal is None) == (self.plan is None):
            raise ValueError("a trigger has either a goal or a plan")
        if not is_remote(self.repository) and not self.repository.startswith(("/", "~/")):
            raise ValueError("repository has to be an absolute path, or OWNER/NAME on the GitHub server")
        if self.plan is not None and not self.plan.startswith(("/", "~/")):
            raise ValueError(f"plan has to be an absolute path, not {self.plan[:200]!r}")
        if flaw := {"github": self._github, "webhook": self._webhook, "cron": self._cron}[self.kind]():
            raise ValueError(flaw)
        return self

    def _github(self) -> str:
        if not is_remote(self.repository):
            return "a github trigger has repository = OWNER/NAME"
        if self.secret_env is None:
            return "a github trigger has secret_env: without a secret anybody could start runs"
        if not self.labels and self.command is None:
            return "a github trigger has labels or a command"
        if self.command is not None and (self.command.split() != [self.command]):
            return "command is one word"
        return "fields, subject and schedule are not for github" if self.fields or self.subject or self.schedule else ""

    def _webhook(self) -> str:
        if self.secret_env is None:
            return "a webhook has secret_env: without a secret anybody could start runs"
        if self.labels or self.command or self.authors or self.schedule:
            return "labels, command, authors and schedule are not for a webhook"
        if len(self.fields) > 50 or any(
            not _FIELD.fullmatch(name) or not _PATH.fullmatch(path) for name, path in self.fields.items()
        ):
            return "fields are names with places in the body, such as title = ticket.title"
        return "subject names one of the fields" if self.subject and self.subject not in self.fields else ""

    def _cron(self) -> str:
        if self.schedule is None or len(self.schedule.split()) != 5:
            return "schedule has five fields: minute, hour, day of the month, month, day of the week"
        if self.labels or self.command or self.authors or self.fields or self.subject or self.secret_env:
            return "labels, command, authors, fields, subject and secret_env are not for cron"
        return ""

    @property
    def remote(self) -> str | None:
        """`OWNER/NAME` where the repository is on the GitHub server."""
        return self.repository if is_remote(self.repository) else None


class NotifySection(Value):
    """A webhook of yours that is told what needs a person."""

    url: Address | None = None
    """Where it is sent; unset = nowhere."""
    secret_env: VariableName | None = None
    """Name of the variable that holds the secret that it is signed with."""
    kinds: tuple[NeedKind, ...] = NEED_KINDS
    """What is worth a message."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.url is not None and self.secret_env is None:
            raise ValueError("notify has secret_env: what is not signed cannot be believed")
        return self


class Origin(Value):
    """Where a run came from, and where its result is to go. Stored with the run."""

    trigger: str = ""
    """Name of the trigger; empty = a person named the issue."""
    delivery: str = ""
    repository: str = ""
    """`OWNER/NAME` on the GitHub server; empty = the repository is here only."""
    issue: int | None = None
    title: str = Field(default="", max_length=1_000)
    by: str = Field(default="", max_length=200)
    """Who asked, by the name that the other side gives."""
    base: str = ""
    """Branch that a pull request is for."""
    publish: bool = False
    """Push the branch and open a pull request at the end."""
    subject: str = Field(default="", max_length=500)
    """What it is about, as a name that is one over the whole deck: one thing has one unfinished run."""


def issue_subject(repository: str, number: int) -> str:
    """The name of an issue as a subject."""
    return f"{repository}#{number}".lower()
