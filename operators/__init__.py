"""Where a number comes from: pure functions and modules, without an orchestrator."""
