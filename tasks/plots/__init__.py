"""Plots of the board: Vega-Lite specifications, their rows, and pictures of both."""
