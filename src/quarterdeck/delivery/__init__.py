"""A goal becomes merged commits: plan, dispatch, implement, check, review, gate, report."""
