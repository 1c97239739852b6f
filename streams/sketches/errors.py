"""What can be wrong with sketches and what is given to them, each with what to do next."""

from __future__ import annotations


class SketchError(ValueError):
    """The base of all errors of sketches."""


class EmptySketchError(SketchError):
    """The sketch holds no value, so it has no quantiles."""


class MappingMismatchError(SketchError):
    """Sketches of different accuracy, range or resolution cannot be combined; re-bin one or sketch both alike."""


class InfiniteValueError(SketchError):
    """A value is infinite, or too large for the declared resolution."""


class NeverAddedError(SketchError):
    """What is taken away was never added."""


class CorruptSketchError(SketchError):
    """Bytes are no sketch of a known version, or are cut short."""
