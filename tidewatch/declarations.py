"""Finds a pipeline by what a person types: a known name, ``file.py:VARIABLE`` or ``module:VARIABLE``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import msgspec

from streams.monitoring import MonitorPipeline
from streams.pipeline import Pipeline
from streams.pipelines import PIPELINES
from streams.reports import ReportPipeline
from streams.stages import AnyPipeline

SignalPipeline = ReportPipeline | MonitorPipeline
"""What publishes states of pairs and steps of signals."""


class DeclarationError(Exception):
    """There is no such pipeline."""


class Declared(msgspec.Struct, frozen=True):
    """A pipeline as a person named it, with the text of its file, so that other machines find the very same one."""

    text: str
    code: str | None = None

    @classmethod
    def of(cls, text: str) -> Declared:
        """Return what ``find_pipeline`` would find, by name and text.

        Raises:
            DeclarationError: there is none.
        """
        find_pipeline(text)
        path = Path(text.rpartition(":")[0])
        return cls(text, path.read_text() if text not in PIPELINES and path.suffix == ".py" else None)

    def pipeline(self) -> AnyPipeline:
        """Return the pipeline.

        Raises:
            DeclarationError: there is none.
        """
        if self.code is None:
            return find_pipeline(self.text)
        place, _, variable = self.text.rpartition(":")
        module = ModuleType(f"tidewatch_declared_{Path(place).stem}")
        sys.modules[module.__name__] = module  # where dataclasses look for their module
        exec(compile(self.code, place, "exec", dont_inherit=True), module.__dict__)
        return _checked(getattr(module, variable, None), place, variable)


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
    return _checked(getattr(_imported(place), variable, None), place, variable)


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


def find_watchable(text: str) -> Pipeline | SignalPipeline:
    """Return the pipeline of windows or of safety reports that ``text`` names.

    Raises:
        DeclarationError: there is none, or it has neither windows nor signals.
    """
    found = find_pipeline(text)
    if not isinstance(found, Pipeline | SignalPipeline):
        raise DeclarationError(
            f"{text} has neither windows nor signals to show; name the pipeline that its results go to"
        )
    return found


def _checked(found: object, place: str, variable: str) -> AnyPipeline:
    if not isinstance(found, AnyPipeline):
        raise DeclarationError(f"{place} has no Pipeline named {variable}")
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
