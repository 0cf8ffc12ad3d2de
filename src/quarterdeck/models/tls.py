"""Certificates are loaded only where there is TLS. Pure but for OpenSSL and its files.

Rules
- Loading the machine's certificates costs tens of milliseconds; a plain `http:` address needs none.
- A client of such an address trusts nobody: were it ever led to an `https:` address, that connection fails.
- Those whom the machine trusts are trusted; where the operator names certificates, these and nobody else.
"""

import platform
import ssl
from pathlib import Path
from typing import Final, cast

_ELSEWHERE: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where distributions keep their certificates; a Python from elsewhere may look in another place."""


def needless(base_url: str) -> ssl.SSLContext | None:
    """An empty context for a plain address; None where TLS is spoken and the client's own default is right."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if base_url.startswith("http://") else None


def trusted(cert_file: str | None, cert_folder: str | None) -> ssl.SSLContext:
    """A context for HTTP/1.1 over TLS. Raises OSError where the certificates that are named cannot be read."""
    context = _trusted(cert_file, cert_folder)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trusted(cert_file: str | None, cert_folder: str | None) -> ssl.SSLContext:
    if cert_file or cert_folder:
        return ssl.create_default_context(cafile=cert_file or None, capath=cert_folder or None)
    if platform.system() == "Darwin":  # its certificates are in no file
        import truststore  # noqa: PLC0415 - is not there elsewhere

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    if not _found(ssl.get_default_verify_paths()):
        for place in filter(lambda path: Path(path).is_file(), _ELSEWHERE):
            context.load_verify_locations(place)
            break
    return context


def _found(paths: ssl.DefaultVerifyPaths) -> bool:
    """Whether there are certificates where OpenSSL looks for them."""
    folder = cast("str | None", paths.capath)
    return bool(paths.cafile) or (folder is not None and any(Path(folder).iterdir()))
