"""Helpers for tests: conformance suites, chaos, sample repositories. Nothing shipped imports this package."""
