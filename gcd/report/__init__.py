"""Reports: a `RunResult` as text for people and as JSON for programs. Pure functions of the result."""
