"""Safety reports of medicines: every pair of drug and event counted and watched, as reports arrive."""

from streams.derivation import DerivedPipeline, RiskRule
from streams.reports import ReportPipeline

PHARMA = ReportPipeline(name="pharma", refresh=1_000, duplicates="flag")

# Public reports, as the FDA gives them: nothing in them is held back, and they come in quarters of a million.
FAERS = ReportPipeline(
    name="faers",
    population="faers",
    refresh=10_000,
    publish_from=1,
    private=False,
    presets=("evans-2001", "ema-2016", "umc", "fda"),
)

_ICD10 = "http://hl7.org/fhir/sid/icd-10"

# Risk and clean windows, in days, after the FDA's BEST programme where it states some; else a month and a year.
HOSPITAL = DerivedPipeline(
    name="hospital-events",
    rules=(
        RiskRule(f"{_ICD10}|G61.0", 1, 42, 365),
        RiskRule(f"{_ICD10}|I21*", 1, 28, 365),
        RiskRule(f"{_ICD10}|I40*", 1, 21, 365),
        RiskRule(f"{_ICD10}|T78.2", 0, 1, 30),
        RiskRule("*", 0, 30, 365),
    ),
)
