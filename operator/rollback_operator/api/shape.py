"""Building blocks of the API models: base model, bounded strings, CEL rules.

The fields of the API are in the modules that v1alpha1.py exports.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic.alias_generators import to_camel

METRIC_FORM = r"^[a-zA-Z_:][a-zA-Z0-9_:./]*$"
LABEL_FORM = r"^[a-zA-Z_][a-zA-Z0-9_./]*$"
DECIMAL_FORM = r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$"
ADDRESS_FORM = r"^https?://[^/@]+(/.*)?$"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
OBJECT_FORM = rf"^{_SUBDOMAIN}$"
OBJECT_OR_NONE_FORM = rf"^({_SUBDOMAIN})?$"
DNS_LABEL_FORM = rf"^{_LABEL}$"
KEY_FORM = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"
_TOKEN = r"[a-zA-Z0-9][-._a-zA-Z0-9]*"
TOKEN_FORM = rf"^{_TOKEN}$"
TOKEN_OR_NONE_FORM = rf"^({_TOKEN})?$"
LABEL_VALUE_FORM = r"^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$"
LINE_FORM = r"^[^\x00-\x1f\x7f]*$"
_HOST = r"[a-zA-Z0-9_]([-a-zA-Z0-9_.]*[a-zA-Z0-9_])?"
HOST_FORM = rf"^({_HOST}\.?|[0-9a-fA-F:]*:[0-9a-fA-F:.]*[0-9a-fA-F:])$"
_COMPONENT = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
IMAGE_FORM = (
    rf"^((\[[0-9a-fA-F:]+\]|{_HOST})(:[0-9]{{1,5}})?/)?{_COMPONENT}(/{_COMPONENT})*"
    r"(:[a-zA-Z0-9_][-.a-zA-Z0-9_]{0,127})?(@[a-z0-9]+([+._-][a-z0-9]+)*:[0-9a-fA-F]{32,128})?$"
)
_ONE_TENANT = r"[a-zA-Z0-9!_*'()-][a-zA-Z0-9!_.*'()-]*"
TENANT_FORM = rf"^{_ONE_TENANT}(\|{_ONE_TENANT})*$"
FORMS = {
    METRIC_FORM: "must be a metric's name, not a query",
    LABEL_FORM: "must be a label's name",
    DECIMAL_FORM: 'must be a decimal number in quotes, as "0.05"',
    OBJECT_FORM: (
        "must be the name of a Kubernetes object: at most 253 lower-case letters, digits, hyphens "
        "and dots, with a letter or digit at both ends and around each dot"
    ),
    DNS_LABEL_FORM: (
        "must be a DNS label: at most 63 lower-case letters, digits and hyphens, with a letter or "
        "digit at both ends"
    ),
    KEY_FORM: (
        "must be a key of a ConfigMap or Secret: letters, digits, hyphens, underscores and dots, "
        "with at most one dot at its start"
    ),
    TOKEN_FORM: (
        "must hold only letters, digits, hyphens, underscores and dots, and begin with a letter or "
        "digit"
    ),
    LABEL_VALUE_FORM: (
        "must be the value of a label: at most 63 letters, digits, hyphens, underscores and dots, "
        "with a letter or digit at both ends"
    ),
    LINE_FORM: "must be one line without control characters",
    HOST_FORM: "must be a host's name or IP address",
    TENANT_FORM: (
        "must be the name of a tenant: letters, digits and !_.*'()-, not beginning with a dot; "
        "several are joined by |"
    ),
    IMAGE_FORM: "must be an image's reference, as registry.example.com/shop:v1",
}
"""Description of each pattern. The API server reports only the field and the pattern."""
FORMS |= {OBJECT_OR_NONE_FORM: FORMS[OBJECT_FORM], TOKEN_OR_NONE_FORM: FORMS[TOKEN_FORM]}
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""Name of a namespace (RFC 1123)."""
LONGEST_NAME = 253
LONGEST_LABEL = 63
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=OBJECT_FORM)]
"""Name of an object: a DNS subdomain (RFC 1123)."""
NameOrNone = Annotated[str, Field(max_length=LONGEST_NAME, pattern=OBJECT_OR_NONE_FORM)]
DnsLabel = Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL, pattern=DNS_LABEL_FORM)]
"""Name of a container or namespace (RFC 1123)."""
DataKey = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=KEY_FORM)]
"""Key of a ConfigMap or Secret."""
Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=TOKEN_FORM)]
Digest = Annotated[str, Field(max_length=64, pattern=TOKEN_OR_NONE_FORM)]
"""Hexadecimal digest, computed by the operator."""
PodHash = Annotated[str, Field(max_length=LONGEST_LABEL, pattern=LABEL_VALUE_FORM)]
"""Value of a label, as the API server accepts it."""
Label = Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL, pattern=LINE_FORM)]
"""Display name in messages: without control characters, which could forge a line."""
UserName = Annotated[str, Field(min_length=1, max_length=253, pattern=LINE_FORM)]
Text = Annotated[str, Field(max_length=2048)]
MetricName = Annotated[str, Field(min_length=1, max_length=256, pattern=METRIC_FORM)]
"""Dots and slashes occur in OpenTelemetry names, which Prometheus 3 keeps."""
LabelName = Annotated[str, Field(min_length=1, max_length=128, pattern=LABEL_FORM)]
Route = Annotated[str, Field(min_length=1, max_length=512, pattern=LINE_FORM)]
LONGEST_TENANT = 150
Tenant = Annotated[str, Field(min_length=1, max_length=LONGEST_TENANT, pattern=TENANT_FORM)]
"""Tenant of a metrics server, in the form that Mimir accepts."""
MOST_IMAGES = 32
LONGEST_IMAGE = 512
"""Maximum length of an image in characters; longer references cannot be pulled."""
_MORE = "... and "


def fitted(images: Any) -> Any:
    """Fit images of the cluster, of any number and length, into a status or a plan.

    A long reference is truncated and ends with its hash, so that equal images stay equal. Excess
    images are replaced by their number (see `is_whole`).
    """
    if not isinstance(images, list | tuple) or not all(isinstance(image, str) for image in images):
        return images  # pydantic reports it
    kept = [_short(image) for image in images]
    if len(kept) <= MOST_IMAGES:
        return kept
    shown = kept[: MOST_IMAGES - 1]
    return [*shown, f"{_MORE}{len(kept) - len(shown)} more"]


def is_whole(images: Sequence[str]) -> bool:
    """Return whether the list is complete: only then does absence from it mean anything."""
    return not images or not images[-1].startswith(_MORE)


def listed(images: Iterable[str]) -> list[str]:
    """Return the images of a list, without the number of omitted images."""
    return [image for image in images if not image.startswith(_MORE)]


def is_among(image: str, images: Iterable[str]) -> bool:
    """Return whether an image is in a list of a status or a plan."""
    return _short(image) in images


def _short(image: str) -> str:
    if len(image) <= LONGEST_IMAGE:
        return image
    mark = f"...sha256:{hashlib.sha256(image.encode(errors='replace')).hexdigest()}"
    return image[: LONGEST_IMAGE - len(mark)] + mark


Images = Annotated[
    list[Annotated[str, Field(max_length=1024)]],
    BeforeValidator(fitted),
    Field(max_length=MOST_IMAGES, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
]
ADDRESS_WANTED = "must be a base address as http://prometheus.monitoring:9090"
FORMS |= {ADDRESS_FORM: ADDRESS_WANTED}
_BASE_ADDRESS = re.compile(
    r"https?://(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(:(?P<port>[0-9]{1,5}))?(/[^\s?#]*)?",
    re.IGNORECASE,
)
MOST_PORT = 65535


def base_address(text: str) -> str:
    """Validate a base address to which paths can be appended.

    Raises:
        ValueError: invalid scheme, host or port, or a user or query.
    """
    match = _BASE_ADDRESS.fullmatch(text)
    if match is None or int(match["port"] or 0) > MOST_PORT:
        raise ValueError(ADDRESS_WANTED)
    return text


BaseAddress = Annotated[
    str,
    Field(max_length=2048, pattern=ADDRESS_FORM),
    AfterValidator(base_address),
]
"""Base address of an HTTP API, such as Prometheus."""
Decimal = Annotated[str, Field(max_length=24, pattern=DECIMAL_FORM)]
"""Decimal number as a string: the API has no floats."""


def is_tenant(text: str) -> bool:
    """Return whether a text is a valid tenant."""
    return len(text) <= LONGEST_TENANT and re.fullmatch(TENANT_FORM, text) is not None


def is_object_name(text: str) -> bool:
    """Return whether a text is a valid name of a Kubernetes object."""
    return len(text) <= LONGEST_NAME and re.fullmatch(OBJECT_FORM, text) is not None


_LONGEST_WORD = 64
INVISIBLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
"""Control characters, and marks that hide a text or change the direction of writing."""


def printable(text: str) -> str:
    """Replace what a terminal obeys or does not show by spaces; line breaks and tabs stay."""
    return INVISIBLE.sub(" ", text)


def one_line(text: str) -> str:
    """Return the text of a stranger in one line that shows all of it."""
    return " ".join(printable(text).split())


def clipped(text: str, most: int) -> str:
    """Truncate a printable text to a number of characters, between two words, with an ellipsis.

    Truncation within a number would change its value.
    """
    text = printable(text)
    if len(text) <= most:
        return text
    kept, following = text[: most - 1], text[most - 1]
    words, _, begun = kept.rpartition(" ")
    if words and following != " " and len(begun) < _LONGEST_WORD:
        kept = words
    return f"{kept.rstrip(' ,;:(')}…"


def cel(rule: str, message: str, field_path: str | None = None) -> Any:
    """Return a CEL rule for the API server; `field_path` is the field it reports."""
    validation = {"rule": rule, "message": message}
    return validation | ({"fieldPath": field_path} if field_path else {})


def keyed_by(key: str) -> dict[str, Any]:
    """Declare a list as a map keyed by a field, for merging."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


class Model(BaseModel):
    """Base model: camelCase in the API, immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )


class SecretKeyRef(Model):
    """Reference to a key of a Secret in the policy's namespace.

    The Secret must be listed in the chart value readSecrets.
    """

    name: Name
    """Name of the Secret."""
    key: DataKey
    """Key in the Secret."""


class SecretRef(Model):
    """Reference to a Secret in the policy's namespace.

    The Secret must be listed in the chart value readSecrets.
    """

    name: Name
    """Name of the Secret. The operator needs read access to it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Rule across the fields of a model, for the API server and for files."""

    cel: str
    holds: Callable[[Any], bool]
    """The same in Python: given the model, returns whether it keeps the rule."""
    message: str
    field_path: str | None = None
    """Field that the API server reports."""


def _with_rules(schema: dict[str, Any], model: type["RuledModel"]) -> None:
    schema["x-kubernetes-validations"] = [
        cel(one.cel, one.message, one.field_path) for one in model.RULES
    ]


class RuledModel(Model):
    """Model with rules: the API server evaluates them in CEL, everything else by `holds`."""

    model_config = ConfigDict(json_schema_extra=_with_rules)

    RULES: ClassVar[tuple[Rule, ...]]

    @model_validator(mode="after")
    def _keeps_its_rules(self) -> Self:
        broken = next((one for one in self.RULES if not one.holds(self)), None)
        if broken is not None:
            raise ValueError(broken.message)
        return self
