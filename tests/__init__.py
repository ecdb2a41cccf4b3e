"""Tests mirror the tree; `models.py` makes the small models that several of them use."""
