"""Certificates are loaded only where there is TLS. Pure but for OpenSSL.

Rules
- Loading the machine's certificates costs tens of milliseconds per client; a plain `http:` address needs none.
- Such a client trusts nobody: were it ever led to an `https:` address, that connection fails.
"""

import ssl


def needless(base_url: str) -> ssl.SSLContext | None:
    """An empty context for a plain address; None where TLS is spoken and the client's own default is right."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if base_url.startswith("http://") else None
