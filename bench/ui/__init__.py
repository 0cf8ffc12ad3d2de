"""The dashboard under load: a store of a million records, a thousand agents at work, a real browser."""
