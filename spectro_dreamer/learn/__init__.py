"""The life of a run: tracked, interrupted, resumed, kept."""
