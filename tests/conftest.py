"""For every test: how fast a busy machine is decides nothing."""

from hypothesis import settings

settings.register_profile("harness", deadline=None)
settings.load_profile("harness")
