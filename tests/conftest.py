"""Hypothesis profiles: `default` for every run, the same examples each time; `--hypothesis-profile=thorough`
for a long one, with others each time."""
from hypothesis import HealthCheck, settings

quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("default", derandomize=True, deadline=None, max_examples=20, suppress_health_check=quiet)
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=quiet)
settings.load_profile("default")
