"""Floor 6: a goal becomes merged commits: plan, dispatch, implement, check, review, gate, report."""
