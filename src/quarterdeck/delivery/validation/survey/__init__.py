"""What a change looks like in its checkout. Runs inside the sandbox, under whatever `python3` (3.9 or newer) is there.

Rules
- Stdlib only: these modules' text is handed to the sandbox's interpreter.
- Nothing of the checked tree is executed: sources are parsed, modules are found by their files.
- What an agent wrote is parsed in here and nowhere else: a source that breaks the parser breaks a sandbox.
- What cannot be parsed, is too large, or could come from a place that cannot be seen, is left out: never a guess.
- Only what the change brought is named: what its base has already is the base's affair.
"""
