"""Other servers around the same model file, each in an environment of its own.

The modules here run in those environments, with this folder on their path.
"""
