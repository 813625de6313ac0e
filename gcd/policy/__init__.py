"""Policy: pure functions that say how sure a finding is, and (from 0.3.0) what may be done about it."""
