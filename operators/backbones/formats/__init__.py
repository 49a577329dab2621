"""Folders of weights as others write them."""
