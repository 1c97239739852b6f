"""The bounded set of codes that say why an event became a dead letter."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """Why a record or row was rejected; used as a metric label, so the set is closed."""

    EMPTY = "empty"
    OVERSIZED = "oversized"
    UNKNOWN_CONTENT_TYPE = "unknown_content_type"
    MALFORMED = "malformed"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    INVALID_TEXT = "invalid_text"
    NOT_FINITE = "not_finite"
    VALUE_OUT_OF_RANGE = "value_out_of_range"
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_QUANTITY = "unknown_quantity"
    UNKNOWN_UNIT = "unknown_unit"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    TIME_IN_FUTURE = "time_in_future"
    MISROUTED = "misrouted"
    INCOMPATIBLE_PANES = "incompatible_panes"
    UNKNOWN_REFERENCE = "unknown_reference"
    UNKNOWN_RESOURCE = "unknown_resource"
    UNSAFE_XML = "unsafe_xml"
    PROCESSING = "processing"
