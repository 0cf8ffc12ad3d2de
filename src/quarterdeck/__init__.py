"""Quarterdeck runs fleets of AI agents on real software and makes the result trustworthy.

Importing the package does nothing else: no settings are read, no file is opened.
"""

__version__ = "0.1.0"
