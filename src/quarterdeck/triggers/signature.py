"""Signatures of webhooks: those that come in, and those that go out. Pure.

Rules
- GitHub signs the body: `X-Hub-Signature-256: sha256=HEX` (GitHub's documentation, "Validating webhook deliveries").
  It signs neither the delivery's name nor a time, so a repeated body is told apart by its own hash.
- Everybody else signs as the Standard Webhooks specification says: `webhook-id`, `webhook-timestamp` (seconds) and
  `webhook-signature` (`v1,BASE64`, several with spaces between them) over `id.timestamp.body`. A message that is older
  or newer than five minutes is refused.
- Signatures are compared in constant time, and an unknown trigger takes as long as a wrong signature.
- A secret that begins with `whsec_` is base64, as that specification has it; any other is used as it is written.
  One that holds no key is as good as none.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

TOLERANCE: Final = 300.0
"""Seconds that a signed time may be off."""

_MAX_ID: Final = 200
_MAX_SIGNATURES: Final = 10


def key_of(secret: str) -> bytes:
    """The bytes of a secret as the operator wrote it."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()


def usable(secret: str) -> bool:
    """Whether there is a key in it: anybody can sign with an empty one."""
    return bool(key_of(secret))


def github_signed(secret: str, signature: str, body: bytes) -> bool:
    """Whether GitHub signed this body with this secret."""
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))


def sign(secret: str, id: str, at: int, body: bytes) -> str:
    """The value of `webhook-signature`. `at`: seconds since the epoch."""
    made = hmac.new(key_of(secret), b".".join((id.encode(), str(at).encode(), body)), hashlib.sha256).digest()
    return "v1," + base64.b64encode(made).decode()


def flaw(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Why a message in the form of Standard Webhooks is not believed; empty = it is. `headers`: names in lower case."""
    name, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    at = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 else 0
    expected = sign(secret, name, at, body).encode()
    given = headers.get("webhook-signature", "").split(" ")[:_MAX_SIGNATURES]
    # All are compared, so that the time taken does not say which one it was.
    same = [hmac.compare_digest(expected, one.encode("utf-8", "replace")) for one in given]
    if not name or len(name) > _MAX_ID or not name.isascii() or not name.isprintable():
        return "it has no webhook-id"
    if not any(same):
        return "the signature does not match"
    if abs(now - at) > TOLERANCE:
        return f"its time is {abs(now - at):.0f} s off; {TOLERANCE:.0f} s are allowed"
    return ""
