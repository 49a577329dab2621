"""Thin steps of a flow: find the inputs, call an operator, store the output."""
