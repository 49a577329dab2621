"""Compositions: the Prefect flows, the shipped suites and the command line."""
