import resource

from mcpbridged.transports.process.open_files import fit_limits
from mcpbridged.validators.limits import Limits


def test_limits_that_fit_are_unchanged():
    assert fit_limits(Limits(), resource.RLIM_INFINITY) == (Limits(), ())
    assert fit_limits(Limits(), 524_288) == (Limits(), ())


def test_limits_that_do_not_fit_are_lowered_and_named():
    limits, sentences = fit_limits(Limits(), 1024)
    assert (limits.connections, limits.connections_unauthenticated) == (354, 59)
    assert "limits.connections is lowered from 4096 to 354, because at most 1024 files" in sentences[0]
    assert "limits.connections_unauthenticated is lowered from 256 to 59" in sentences[1]
    limits, sentences = fit_limits(Limits(connections=300, connections_unauthenticated=4096), 1024)
    assert (limits.connections, limits.connections_unauthenticated) == (300, 59)
    assert len(sentences) == 1
    limits, _ = fit_limits(Limits(), 1)
    assert (limits.connections, limits.connections_unauthenticated) == (1, 1)
