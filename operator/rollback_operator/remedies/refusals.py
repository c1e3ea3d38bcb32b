"""Who refused a write, from the text of the API server, for the first words of a message.

The texts are those of Kubernetes 1.30 to 1.34: RBAC, ValidatingAdmissionPolicy, admission webhooks
and ResourceQuota.
"""

import re
from typing import Final

_FORBIDDEN: Final = re.compile(r'cannot (\w+) resource "([\w./-]{1,253})"')
_POLICY: Final = re.compile(r"ValidatingAdmissionPolicy ['\"]([\w.-]{1,253})['\"]")
_WEBHOOK: Final = re.compile(r'admission webhook "([\w.-]{1,253})"')
_QUOTA: Final = "exceeded quota"


def refused_by(answer: str, what: str) -> str:
    """State who refused a write.

    Args:
        answer: the text of the API server.
        what: the object that was to be changed, such as "Deployment shop".
    """
    # In this order: the text of a webhook or a policy may quote anything.
    for pattern, kind in ((_WEBHOOK, "webhook"), (_POLICY, "policy")):
        if match := pattern.search(answer):
            return f"the admission {kind} {match[1]} does not allow the change of {what}"
    if match := _FORBIDDEN.search(answer):
        return f"the operator may not {match[1]} {what}"
    if _QUOTA in answer:
        return f"a quota does not allow the change of {what}"
    return f"the API server does not allow the change of {what}"
