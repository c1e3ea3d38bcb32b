"""Notification channels, the description of the service, and the record of deliveries.

`spec.notify` and `spec.communication` of a RollbackPolicy; `status.notifications` of both kinds.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from rollback_operator.api.shape import (
    DNS_LABEL_FORM,
    HOST_FORM,
    LINE_FORM,
    Model,
    Rule,
    RuledModel,
    SecretKeyRef,
    keyed_by,
)

MOST_CHANNELS = 8
MOST_NOTIFICATIONS = 64
LONGEST_MESSAGE = 8192

HttpUrl = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^/@?#]+(/.*)?$")]
MailAddress = Annotated[
    str, Field(min_length=3, max_length=254, pattern=r"^[^\s<>,;@\"]+@[^\s<>,;@\"]+$")
]


class ChannelType(StrEnum):
    """Type of a notification channel."""

    SLACK = "Slack"
    WEBHOOK = "Webhook"
    SMTP = "SMTP"
    PAGER_DUTY = "PagerDuty"
    ALERTMANAGER = "Alertmanager"


class Encryption(StrEnum):
    """Encryption of the connection to a mail server."""

    START_TLS = "StartTLS"
    TLS = "TLS"
    NONE = "None"


class MailSpec(RuledModel):
    """Mail server, sender and recipients."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.username) || !has(self.encryption) || self.encryption != 'None'",
            lambda it: it.username is None or it.encryption is not Encryption.NONE,
            "encryption must be StartTLS or TLS if username is set",
            ".encryption",
        ),
    )

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=HOST_FORM)]
    """Host name of the mail server: a Service in the policy's namespace, such as
    smtp.production.svc, or a host in the operator's allow-list."""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    """Port of the mail server. Default: 587."""
    encryption: Encryption = Encryption.START_TLS
    """Encryption of the connection. StartTLS (default) and TLS verify the server's certificate.
    None sends unencrypted mail, for a relay inside the cluster."""
    username: Annotated[str, Field(min_length=1, max_length=256, pattern=LINE_FORM)] | None = None
    """User name for authentication, with the password from `secretRef`. Default: no
    authentication."""
    from_: Annotated[MailAddress, Field(alias="from")]
    """Address of the sender."""
    to: Annotated[
        list[MailAddress],
        Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ]
    """Addresses of the recipients."""


class Channel(RuledModel):
    """Destination for notifications.

    Slack and PagerDuty require `secretRef`. Webhook requires `url` or `urlSecretRef`; `secretRef`
    signs the body. SMTP requires `mail`, and `secretRef` if `mail.username` is set. Alertmanager
    requires `url`.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(self.type in ['Slack', 'PagerDuty']) || has(self.secretRef)",
            lambda it: it.type not in ("Slack", "PagerDuty") or it.secret_ref is not None,
            "Slack and PagerDuty require secretRef: the URL of the incoming webhook, or the routing"
            " key",
            ".secretRef",
        ),
        Rule(
            "self.type != 'Webhook' || has(self.url) != has(self.urlSecretRef)",
            lambda it: it.type != "Webhook" or (it.url is None) != (it.url_secret_ref is None),
            "Webhook requires exactly one of url and urlSecretRef",
            ".url",
        ),
        Rule(
            "self.type != 'Alertmanager' || has(self.url)",
            lambda it: it.type != "Alertmanager" or it.url is not None,
            "Alertmanager requires url, its base URL",
            ".url",
        ),
        Rule(
            "(self.type == 'SMTP') == has(self.mail)",
            lambda it: (it.type == "SMTP") == (it.mail is not None),
            "mail is required for type SMTP and must not be set otherwise",
            ".mail",
        ),
        Rule(
            "self.type != 'SMTP' || !has(self.mail)"
            " || has(self.mail.username) == has(self.secretRef)",
            lambda it: it.mail is None or (it.mail.username is None) == (it.secret_ref is None),
            "mail.username and secretRef (the password) must be set together for SMTP",
            ".secretRef",
        ),
        Rule(
            "!has(self.url) || !(self.type in ['Slack', 'SMTP'])",
            lambda it: it.url is None or it.type not in ("Slack", "SMTP"),
            "url is allowed only for Webhook, Alertmanager and PagerDuty",
            ".url",
        ),
        Rule(
            "!has(self.urlSecretRef) || self.type == 'Webhook'",
            lambda it: it.url_secret_ref is None or it.type == "Webhook",
            "urlSecretRef is allowed only for Webhook",
            ".urlSecretRef",
        ),
    )

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL_FORM)]
    """Name of the channel in status. Unique within the policy."""
    type: ChannelType
    """Type of the channel."""
    secret_ref: SecretKeyRef | None = None
    """Credential of the channel. Slack: URL of the incoming webhook. Webhook: key that signs the
    body. PagerDuty: routing key of the integration. SMTP: password. Alertmanager: bearer token."""
    url: HttpUrl | None = None
    """URL of the channel. Webhook: destination. Alertmanager: base URL. PagerDuty: events endpoint
    of another service region."""
    url_secret_ref: SecretKeyRef | None = None
    """For Webhook: Secret that holds the destination URL, instead of `url`."""
    mail: MailSpec | None = None
    """Mail server and addresses. Required for SMTP."""
    severities: (
        Annotated[
            list[Literal["P1", "P2", "P3", "P4"]],
            Field(min_length=1, max_length=4, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Severities to notify of. Quarantined releases that reappear are always notified, because
    their severity is not known yet. Default: all severities."""

    def wants(self, severity: str) -> bool:
        """Return whether the channel accepts a severity."""
        return self.severities is None or severity in self.severities


class CommunicationSpec(Model):
    """Description of the service for use in notifications."""

    service: Annotated[str, Field(max_length=128, pattern=LINE_FORM)] = ""
    """Display name of the service. Default: name of the Deployment."""
    impact: Annotated[str, Field(max_length=1024)] = ""
    """Effect of a failure on customers. Default: the share of failed requests, if known."""
    contact: Annotated[str, Field(max_length=256, pattern=LINE_FORM)] = ""
    """Contact for questions: an on-call person, an address or a chat room. Default: omitted."""


class Notification(Model):
    """Delivery of one message to one channel."""

    id: Annotated[str, Field(min_length=1, max_length=253)]
    """Identifier of the message. Retries use the same identifier, so that receivers can remove
    duplicates."""
    transition: Annotated[str, Field(min_length=1, max_length=63)]
    """Event that the message reports."""
    channel: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the channel in the policy."""
    time: AwareDatetime
    """Time of the event."""
    delivered_time: AwareDatetime | None = None
    """Time when the channel accepted the message."""
    gave_up_time: AwareDatetime | None = None
    """Time when delivery was abandoned, after too many attempts or because the message was
    outdated."""
    attempts: Annotated[int, Field(ge=0)] = 0
    """Number of failed attempts."""
    message: Annotated[str, Field(max_length=512)] = ""
    """Error of the last attempt."""
    severity: Annotated[str, Field(max_length=4)] = ""
    """Severity in the message, if no other record contains it."""
    text: Annotated[str, Field(max_length=1024)] = ""
    """Text of the message, if no other record contains it."""

    @property
    def is_open(self) -> bool:
        """Return whether the delivery is pending."""
        return self.delivered_time is None and self.gave_up_time is None


Channels = Annotated[
    list[Channel],
    Field(
        max_length=MOST_CHANNELS,
        json_schema_extra=keyed_by("name"),
    ),
]
Notifications = Annotated[
    list[Notification],
    Field(
        max_length=MOST_NOTIFICATIONS,
        json_schema_extra=keyed_by("id"),
    ),
]
