"""Coverage-guided fuzzing: one module for each parser of what we did not write ourselves.

Rules
- A target is a module with `INSTRUMENTED` (packages whose branches guide the search), `seeds()` (a first corpus, made
  by code) and `one(data)` (feed one input). `WORDS`, where it has any, are tokens that the mutator may insert.
- A bug is: any exception but those that the parser declares; more than a second of CPU time for one input; more than
  256 MiB of memory for one input; and, where something can be written and read back, a difference.
- `one` raises for a bug and returns for everything else. It keeps no state that makes a later input behave otherwise.
- What is found becomes a unit test (`tests/unit/test_properties_untrusted.py`) before it is mended.
- `python -m fuzz` lists the targets; `make fuzz` runs all of them for a while; the suite runs each briefly, with a
  fixed seed and a fixed number of inputs.
"""
