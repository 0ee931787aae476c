"""Hypothesis profiles: `default` for every run, with the same examples each time;
`--hypothesis-profile=thorough` for a long one, with others each time."""
import gc
import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies

quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
phases = [phase for phase in Phase if phase is not Phase.explain]   # it buries the example
settings.register_profile("default", derandomize=True, deadline=None, max_examples=10,
                          phases=phases, suppress_health_check=quiet)
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=quiet)
settings.load_profile("default")


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """Where the tests themselves write a file, they do not wait until it is on the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@settings(max_examples=1)
@given(strategies.none())
def draw_once(_):
    """A first example: before it Hypothesis looks for references to NumPy's generator, which it
    would not find among frozen objects."""


def pytest_collection_finish():
    """What has been collected stays: to look through it again and again, in every forked process
    too, takes a tenth of the time of tests that fork."""
    draw_once()
    gc.freeze()
