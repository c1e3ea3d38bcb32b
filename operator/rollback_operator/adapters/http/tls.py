"""TLS with servers that tenants name: cheap key exchanges only.

Handshakes run in the event loop. With finite-field Diffie-Hellman of TLS 1.2 the server chooses the
group: one of 10,000 bits costs the client the better part of a second of CPU time. Elliptic curves
have a fixed size; servers without them date from before 2012.
"""

import ssl
from functools import cache

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES"
"""For TLS 1.2, in OpenSSL's notation; TLS 1.3 has its own."""


@cache
def verified() -> ssl.SSLContext:
    """Trust the system's authorities, and check the name of the server."""
    return _bounded(ssl.create_default_context())


def unverified() -> ssl.SSLContext:
    """Accept every certificate, as the kubelet does for probes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _bounded(context)


def _bounded(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    return context
