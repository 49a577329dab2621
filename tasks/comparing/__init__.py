"""Numbers beside others: two methods, suites, runs or stores; stores merged; trials repeated."""
