"""Texts of our own, their generators, and the manifest of public corpora (see README.md)."""
