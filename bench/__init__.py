"""Measures raypipe beside other ways of doing the same work; never part of the tests."""
