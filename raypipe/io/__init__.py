"""Bytes to arrays and back: one format a file, and how a file is published."""
