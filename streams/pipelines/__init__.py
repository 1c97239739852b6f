"""One short file a use case, each reading like a declaration."""

from streams.pipeline import Pipeline
from streams.pipelines.air_quality import AIR_QUALITY
from streams.pipelines.weather import WEATHER

PIPELINES: dict[str, Pipeline] = {pipeline.name: pipeline for pipeline in (AIR_QUALITY, WEATHER)}
