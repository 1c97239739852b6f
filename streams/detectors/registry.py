"""All detectors by name."""

from __future__ import annotations

from streams.detectors.adwin import Adwin
from streams.detectors.base import Detector
from streams.detectors.cusum import Cusum
from streams.detectors.dummy import Dummy
from streams.detectors.kswin import Kswin
from streams.detectors.martingales import BinsEDetector, BinsEProcess, FrozenReference
from streams.detectors.page_hinkley import PageHinkley
from streams.detectors.tail_exceedance import TailExceedance
from streams.detectors.tangent_chart import TangentChart

DETECTORS: dict[str, type[Detector]] = {
    detector.kind: detector
    for detector in (
        Adwin,
        PageHinkley,
        Cusum,
        Kswin,
        BinsEProcess,
        BinsEDetector,
        FrozenReference,
        TailExceedance,
        TangentChart,
        Dummy,
    )
}


def build(name: str, **parameters: float) -> Detector:
    """Return a new detector by its name in the registry.

    Raises:
        ValueError: there is none of that name, or it has no such parameter.
    """
    if name not in DETECTORS:
        raise ValueError(f"no detector {name!r}; there are {', '.join(DETECTORS)}")
    try:
        return DETECTORS[name](**parameters)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error
