"""Formats of files, one reader each."""
