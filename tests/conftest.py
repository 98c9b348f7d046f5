"""One Hypothesis profile for all tests: no deadline, because machines are shared and a slow moment is no failure."""

from hypothesis import settings

settings.register_profile("steadystep", deadline=None)
settings.load_profile("steadystep")
