"""One short file a use case, each reading like a declaration."""

from streams.pipelines.air_quality import AIR_QUALITY
from streams.pipelines.air_shapes import AIR_SITES, SHAPE
from streams.pipelines.pharma import FAERS, HOSPITAL, PHARMA
from streams.pipelines.weather import WEATHER
from streams.stages import AnyPipeline

PIPELINES: dict[str, AnyPipeline] = {
    pipeline.name: pipeline for pipeline in (AIR_QUALITY, AIR_SITES, SHAPE, WEATHER, PHARMA, FAERS, HOSPITAL)
}
