"""Spike sorting of one channel: detection, clips, features, clusters, matching, templates, metrics."""
