"""Lets others answer for the API server: by which certificate they know it, what it passes on."""

from __future__ import annotations

import subprocess
from pathlib import Path

CLIENT = "front-proxy-client"
DAYS = "30"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def prepare(pki: Path) -> tuple[str, ...]:
    """Write the keys; gives the API server's flags.

    The API server publishes the authority itself (kube-system/extension-apiserver-authentication):
    whoever answers for it finds it there.
    """
    authority, signer = pki / "front-proxy-ca.crt", pki / "front-proxy-ca.key"
    certificate, key = pki / f"{CLIENT}.crt", pki / f"{CLIENT}.key"
    request = pki / f"{CLIENT}.csr"
    own = ("-keyout", str(signer), "-out", str(authority), "-subj", "/CN=front-proxy-ca")
    asked = ("-keyout", str(key), "-out", str(request), "-subj", f"/CN={CLIENT}")
    by = ("-CA", str(authority), "-CAkey", str(signer), "-CAcreateserial")
    for argv in (
        ("openssl", "req", "-x509", *KEY, *own, "-days", DAYS),
        ("openssl", "req", *KEY, *asked),
        (
            "openssl",
            "x509",
            "-req",
            "-in",
            str(request),
            *by,
            "-out",
            str(certificate),
            "-days",
            DAYS,
        ),
    ):
        subprocess.run(argv, check=True, capture_output=True)
    return (
        f"--requestheader-client-ca-file={authority}",
        f"--requestheader-allowed-names={CLIENT}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={certificate}",
        f"--proxy-client-key-file={key}",
    )
