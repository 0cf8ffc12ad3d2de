"""The merge gate of a target branch: one queue, checks side by side, one commit a change, never a red tip.

Rules
- `queue.decide` and what it calls decide (pure, over `ledger`); `advance` performs; `checking` and `reverting` work
  beside it. The gate knows nothing of the nodes that hand changes in.
"""
