"""Gaze on the maze: rays against boxes, and rows of numbers as text. Not for filter workers: they never compile it."""
