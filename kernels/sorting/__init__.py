"""The arithmetic of spike sorting: events, clips, components, clusters, matching. Loaded only by who sorts."""
