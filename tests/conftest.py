"""One torch thread (two spinning ones make small convolutions many times slower), and seeds that are fixed unless PILCRO_SEED
gives another one."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import matplotlib
import pytest
import torch
import tyro  # noqa: F401 (before any doctest: at import it hashes builtins._, which is what a doctest showed last)
from hypothesis import HealthCheck, settings

matplotlib.use("Agg")
torch.set_num_threads(1)
SEED = int(os.environ.get("PILCRO_SEED", "0"))
torch.manual_seed(SEED)  # for networks that are made as modules are imported
settings.register_profile("fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fresh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("PILCRO_HYPOTHESIS") or ("fresh" if "PILCRO_SEED" in os.environ else "fixed"))


@pytest.fixture(autouse=True)
def _seeded_torch():
    """Tests that build torch modules draw the same weights at every run, in any order."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(SEED)
        yield
