"""One trial: from its specification to numbers, and what it leaves behind."""
