"""Classifiers of frozen sentence features."""
