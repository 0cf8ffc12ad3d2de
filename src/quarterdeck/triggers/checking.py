"""Whether a trigger can work on this machine.

Rules
- Looking asks nobody outside and changes nothing; of a secret it is only seen whether there is one.
"""

from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.kernel.triggers import TriggerSection
from quarterdeck.settings import read_secret
from quarterdeck.triggers import schedule, signature
from quarterdeck.triggers.goal import places
from quarterdeck.triggers.orders import known_fields


def flaw_of(section: TriggerSection) -> str:
    """Why a trigger cannot work on this machine; empty = nothing is known."""
    if section.secret_env is not None:
        secret = read_secret(section.secret_env)
        if not secret:
            return f"the variable {section.secret_env} is not set"
        if not signature.usable(secret):
            return f"the variable {section.secret_env} holds no key"
    if unknown := [name for name in places(section.goal or "") if name not in known_fields(section)]:
        return f"its goal names {unknown[0]}; it may name {', '.join(known_fields(section)) or 'nothing'}"
    if section.kind == "cron":
        try:
            schedule.next_after(section.schedule or "", section.timezone, 0.0)
        except BadConfiguration as error:
            return str(error)
    return ""
