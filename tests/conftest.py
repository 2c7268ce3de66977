"""No test is timed, and neither is an example of a property: machines are slow at times."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
