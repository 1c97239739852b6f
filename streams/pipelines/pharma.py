"""Safety reports of medicines: every pair of drug and event counted and watched, as reports arrive."""

from streams.reports import ReportPipeline

PHARMA = ReportPipeline(name="pharma", refresh=1_000, duplicates="flag")

# Public reports, as the FDA gives them: nothing in them is held back, and they come in quarters of a million.
FAERS = ReportPipeline(
    name="faers",
    population="faers",
    refresh=10_000,
    publish_from=1,
    presets=("evans-2001", "ema-2016", "umc", "fda"),
)
