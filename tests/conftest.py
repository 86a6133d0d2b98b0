"""What holds for every test: no example is judged by how long it took, because machines are shared."""

from hypothesis import HealthCheck, settings

settings.register_profile("fenghuo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fenghuo")
