"""Merging texts, three ways: by lines, by what they define, by union; and what is wrong with a merged text. Pure."""
