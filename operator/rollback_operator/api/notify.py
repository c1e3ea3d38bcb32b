"""Who is told of a rollback, what the message says of the service, and what was told.

`spec.notify` and `spec.communication` of a RollbackPolicy; `status.notifications` of both kinds.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from rollback_operator.api.secrets import SecretKeyRef
from rollback_operator.api.shape import DNS_LABEL_FORM, HOST_FORM, LINE_FORM, Model, cel, keyed_by

MOST_CHANNELS = 8
MOST_NOTIFICATIONS = 64
LONGEST_MESSAGE = 8192

HttpUrl = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^/@?#]+(/.*)?$")]
MailAddress = Annotated[
    str, Field(min_length=3, max_length=254, pattern=r"^[^\s<>,;@\"]+@[^\s<>,;@\"]+$")
]


class ChannelType(StrEnum):
    """How somebody is told."""

    SLACK = "Slack"
    WEBHOOK = "Webhook"
    SMTP = "SMTP"
    PAGER_DUTY = "PagerDuty"
    ALERTMANAGER = "Alertmanager"


class Encryption(StrEnum):
    """How the connection to a mail server is protected."""

    START_TLS = "StartTLS"
    TLS = "TLS"
    NONE = "None"


class MailSpec(Model):
    """The mail server, who writes and who is written to."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.username) || !has(self.encryption) || self.encryption != 'None'",
                    "a password is not sent without encryption: StartTLS or TLS",
                    ".encryption",
                ),
            ]
        }
    )

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=HOST_FORM)]
    """A Service of the policy's namespace, as smtp.production.svc, or one of the operator's allowed
    hosts."""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    """Port of the mail server."""
    encryption: Encryption = Encryption.START_TLS
    """StartTLS and TLS check the server's certificate; None is for a relay in the cluster."""
    username: Annotated[str, Field(min_length=1, max_length=256, pattern=LINE_FORM)] | None = None
    """Logs in with it and the password in `secretRef`."""
    from_: Annotated[MailAddress, Field(alias="from")]
    """Address of the sender."""
    to: Annotated[
        list[MailAddress],
        Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ]
    """Addresses of the recipients."""

    @model_validator(mode="after")
    def _protects_its_password(self) -> Self:
        if self.username is not None and self.encryption is Encryption.NONE:
            raise ValueError("a password is not sent without encryption: StartTLS or TLS")
        return self


class Channel(Model):
    """One way to tell somebody.

    Slack takes `secretRef`; Webhook `url` or `urlSecretRef`, and `secretRef` to sign; SMTP `mail`,
    and `secretRef` with a user name; PagerDuty `secretRef`; Alertmanager `url`.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!(self.type in ['Slack', 'PagerDuty']) || has(self.secretRef)",
                    "Slack needs secretRef (the webhook's address), and so does PagerDuty (the"
                    " integration's routing key)",
                    ".secretRef",
                ),
                cel(
                    "self.type != 'Webhook' || has(self.url) != has(self.urlSecretRef)",
                    "Webhook needs exactly one of url and urlSecretRef",
                    ".url",
                ),
                cel(
                    "self.type != 'Alertmanager' || has(self.url)",
                    "Alertmanager needs url, its base address",
                    ".url",
                ),
                cel(
                    "(self.type == 'SMTP') == has(self.mail)",
                    "mail belongs to type SMTP, which needs it",
                    ".mail",
                ),
                cel(
                    "self.type != 'SMTP' || !has(self.mail)"
                    " || has(self.mail.username) == has(self.secretRef)",
                    "SMTP takes mail.username and secretRef (the password) together",
                    ".secretRef",
                ),
                cel(
                    "!has(self.url) || !(self.type in ['Slack', 'SMTP'])",
                    "url belongs to Webhook, Alertmanager and PagerDuty",
                    ".url",
                ),
                cel(
                    "!has(self.urlSecretRef) || self.type == 'Webhook'",
                    "urlSecretRef belongs to Webhook",
                    ".urlSecretRef",
                ),
            ]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL_FORM)]
    """The channel's own name, in statuses and identifiers."""
    type: ChannelType
    secret_ref: SecretKeyRef | None = None
    """Slack: the incoming webhook's address. Webhook: the key that signs the body. PagerDuty: the
    integration's routing key. SMTP: the password. Alertmanager: a bearer token."""
    url: HttpUrl | None = None
    """Webhook: where to. Alertmanager: its base address. PagerDuty: another region's address."""
    url_secret_ref: SecretKeyRef | None = None
    """Webhook: where to, if the address itself is a credential."""
    mail: MailSpec | None = None
    severities: (
        Annotated[
            list[Literal["P1", "P2", "P3", "P4"]],
            Field(min_length=1, max_length=4, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Told only of these, and of a release that has come back, whose severity is not known yet.
    Default: all."""

    @model_validator(mode="after")
    def _fields_of_its_type(self) -> Self:
        # The API server says the same in CEL; a file given to the command line has only this.
        kind, is_mail = self.type, self.type is ChannelType.SMTP
        if kind in (ChannelType.SLACK, ChannelType.PAGER_DUTY) and self.secret_ref is None:
            raise ValueError(f"{kind} needs secretRef")
        if kind is ChannelType.WEBHOOK and (self.url is None) == (self.url_secret_ref is None):
            raise ValueError("Webhook needs exactly one of url and urlSecretRef")
        if kind is ChannelType.ALERTMANAGER and self.url is None:
            raise ValueError("Alertmanager needs url, its base address")
        if is_mail != (self.mail is not None):
            raise ValueError("mail belongs to type SMTP, which needs it")
        self._refuse_foreign()
        return self

    def _refuse_foreign(self) -> None:
        kind = self.type
        if self.mail is not None and (self.mail.username is None) != (self.secret_ref is None):
            raise ValueError("SMTP takes mail.username and secretRef (the password) together")
        if self.url is not None and kind in (ChannelType.SLACK, ChannelType.SMTP):
            raise ValueError("url belongs to Webhook, Alertmanager and PagerDuty")
        if self.url_secret_ref is not None and kind is not ChannelType.WEBHOOK:
            raise ValueError("urlSecretRef belongs to Webhook")

    def wants(self, severity: str) -> bool:
        """Tell whether it is told of a severity."""
        return self.severities is None or severity in self.severities


class CommunicationSpec(Model):
    """What a message says of the service, in words of those who run it."""

    service: Annotated[str, Field(max_length=128, pattern=LINE_FORM)] = ""
    """What people call the service. Default: the Deployment's name."""
    impact: Annotated[str, Field(max_length=1024)] = ""
    """What customers notice while it fails."""
    contact: Annotated[str, Field(max_length=256, pattern=LINE_FORM)] = ""
    """Whom to ask: a person on call, an address, a chat room."""


class Notification(Model):
    """One message to one channel: its identifier, and what became of it."""

    id: Annotated[str, Field(min_length=1, max_length=253)]
    """The same at each attempt, so that a message that arrives twice is known to be one."""
    transition: Annotated[str, Field(min_length=1, max_length=63)]
    """What it tells of."""
    channel: Annotated[str, Field(min_length=1, max_length=63)]
    """The channel's name in the policy."""
    time: AwareDatetime
    """When that was."""
    delivered_time: AwareDatetime | None = None
    gave_up_time: AwareDatetime | None = None
    """After too many attempts, or too late to be news."""
    attempts: Annotated[int, Field(ge=0)] = 0
    """Attempts that have failed."""
    message: Annotated[str, Field(max_length=512)] = ""
    """Why the last attempt failed."""
    severity: Annotated[str, Field(max_length=4)] = ""
    """Where no other record keeps it."""
    text: Annotated[str, Field(max_length=1024)] = ""
    """What is told, where no other record keeps it."""

    @property
    def is_open(self) -> bool:
        """Tell whether it is still to be delivered."""
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
