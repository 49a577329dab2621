"""Methods of text classification."""
