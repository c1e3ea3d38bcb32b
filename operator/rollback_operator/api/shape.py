"""What every group of fields is made of: the models' form, bounded strings, CEL rules.

No field of the API itself: those are in the modules whose names v1alpha1.py gathers.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

METRIC_FORM = r"^[a-zA-Z_:][a-zA-Z0-9_:./]*$"
LABEL_FORM = r"^[a-zA-Z_][a-zA-Z0-9_./]*$"
DECIMAL_FORM = r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$"
ADDRESS_FORM = r"^https?://[^/@]+(/.*)?$"
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""What a namespace may be called (RFC 1123)."""
Name = Annotated[str, Field(min_length=1, max_length=253)]
Text = Annotated[str, Field(max_length=2048)]
MetricName = Annotated[str, Field(min_length=1, max_length=256, pattern=METRIC_FORM)]
"""Dots and slashes are for names that OpenTelemetry gives and Prometheus 3 keeps."""
LabelName = Annotated[str, Field(min_length=1, max_length=128, pattern=LABEL_FORM)]
Route = Annotated[str, Field(min_length=1, max_length=512)]
MOST_IMAGES = 32
Images = Annotated[
    list[Annotated[str, Field(max_length=1024)]],
    Field(max_length=MOST_IMAGES, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
]
ADDRESS_WANTED = "must be a base address as http://prometheus.monitoring:9090"
_BASE_ADDRESS = re.compile(
    r"https?://(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(:(?P<port>[0-9]{1,5}))?(/[^\s?#]*)?",
    re.IGNORECASE,
)
MOST_PORT = 65535


def base_address(text: str) -> str:
    """Take an address that paths can be added to.

    Raises:
        ValueError: it is none: another scheme, no host, a user, a query, no such port.
    """
    found = _BASE_ADDRESS.fullmatch(text)
    if found is None or int(found["port"] or 0) > MOST_PORT:
        raise ValueError(ADDRESS_WANTED)
    return text


BaseAddress = Annotated[
    str,
    Field(max_length=2048, pattern=ADDRESS_FORM),
    AfterValidator(base_address),
]
"""Of an HTTP API, such as Prometheus'."""
Decimal = Annotated[str, Field(max_length=24, pattern=DECIMAL_FORM)]
"""A decimal string of any size: the API has no floats."""


def cel(rule: str, message: str, field_path: str | None = None) -> Any:
    """Make a rule that the API server checks; `field_path` is the field at fault."""
    found = {"rule": rule, "message": message}
    return found | ({"fieldPath": field_path} if field_path else {})


def keyed_by(key: str) -> dict[str, Any]:
    """Say that a list has one item for each value of a field, by which they are merged."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


class Model(BaseModel):
    """A group of fields: camelCase in the API, immutable here."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )
