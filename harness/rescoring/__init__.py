"""Saved responses, scored again: by one scorer or several, and what they differ on."""
