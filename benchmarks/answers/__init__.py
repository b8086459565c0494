"""The one notion of an answer: read it, normalise it, compare it."""
