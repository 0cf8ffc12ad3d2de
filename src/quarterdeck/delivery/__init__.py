"""A goal becomes merged commits: plan, dispatch, implement, check, review, gate, report.

Rules
- Four rooms within: `nodes` do the work of a run, `gate` merges, `validation` judges changes, `plans` reads plans. Each
  imports only those named after it; what decides and conducts a run stands here, beside them.
"""
