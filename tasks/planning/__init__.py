"""From a suite to the trials that it means."""
