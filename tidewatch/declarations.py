"""Finds a pipeline by what a person types: a known name, ``file.py:VARIABLE`` or ``module:VARIABLE``."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from streams.pipeline import Pipeline
from streams.pipelines import PIPELINES
from streams.reports import ReportPipeline
from streams.stages import AnyPipeline


class DeclarationError(Exception):
    """There is no such pipeline."""


def find_pipeline(text: str) -> AnyPipeline:
    """Return the pipeline that ``text`` names; imports the file or module where one is named.

    Raises:
        DeclarationError: there is none; the message says what would be accepted.
    """
    if text in PIPELINES:
        return PIPELINES[text]
    place, colon, variable = text.rpartition(":")
    if not colon:
        raise DeclarationError(
            f"no pipeline {text!r}; there are: {', '.join(sorted(PIPELINES))}. Your own: FILE.py:VARIABLE or module:VARIABLE."
        )
    found = getattr(_imported(place), variable, None)
    if not isinstance(found, AnyPipeline):
        raise DeclarationError(f"{place} has no Pipeline named {variable}")
    return found


def find_windowed(text: str) -> Pipeline:
    """Return the pipeline of windows that ``text`` names.

    Raises:
        DeclarationError: there is none, or it counts reports or compares shapes and has no windows.
    """
    found = find_pipeline(text)
    if not isinstance(found, Pipeline):
        raise DeclarationError(
            f"{text} has no windows of its own; look at reports with `tidewatch signals`, at shapes with `tidewatch plot shape`"
        )
    return found


def find_watchable(text: str) -> Pipeline | ReportPipeline:
    """Return the pipeline of windows or of safety reports that ``text`` names.

    Raises:
        DeclarationError: there is none, or it has neither windows nor signals.
    """
    found = find_pipeline(text)
    if not isinstance(found, Pipeline | ReportPipeline):
        raise DeclarationError(
            f"{text} has neither windows nor signals to show; name the pipeline that its results go to"
        )
    return found


def _imported(place: str) -> ModuleType:
    path = Path(place)
    try:
        if path.suffix != ".py":
            return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise DeclarationError(f"there is no file {place}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise DeclarationError(f"cannot import {place}: {error}") from error
    return module
