"""Merging texts, three ways: by lines, by what they define, by union; and what is wrong with a merged text. Pure.

Rules
- `resolve` puts one file together one way, `objections` says what is wrong with a result, `entities` and `touched` name
  what a text defines and what a change touches. None of them raises; texts come from agents.
- They take up to seconds for the largest texts: call them where nothing else waits.
"""

from quarterdeck.merge.lint import objections
from quarterdeck.merge.naming import entities, touched
from quarterdeck.merge.values import ORDER, Entity, Lost, Resolved, Sides, Way
from quarterdeck.merge.ways import resolve

__all__ = ("ORDER", "Entity", "Lost", "Resolved", "Sides", "Way", "entities", "objections", "resolve", "touched")
