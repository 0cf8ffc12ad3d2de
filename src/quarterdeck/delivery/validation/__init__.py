"""Whether a change is what it says it is: its structure, its checks, its proof, what its files tell.

Rules
- Nothing here knows of runs, jobs or the journal: it is called by the nodes and by the gate, with values and a sandbox.
"""
