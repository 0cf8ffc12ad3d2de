"""Loads what knows a library, by name: whoever switched nothing on pays nothing for it."""

import importlib
from types import ModuleType


def collector() -> ModuleType:
    """`quarterdeck.telemetry.collector`, with OpenTelemetry's libraries."""
    return importlib.import_module("quarterdeck.telemetry.collector")


def exposition() -> ModuleType:
    """`quarterdeck.telemetry.exposition`, with Prometheus's client."""
    return importlib.import_module("quarterdeck.telemetry.exposition")
