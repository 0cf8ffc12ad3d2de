"""The words of the system and the rules over them. Pure: no I/O, no asyncio, no third party but pydantic."""
