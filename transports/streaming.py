"""Writing an event stream: what an outlet holds, with signs of life in between."""

from . import event_stream
from .outlet import GONE, OPEN, Outlet
from .ports import Exchange


async def write_events(exchange: Exchange, outlet: Outlet) -> None:
    """Write what the outlet holds, with comments in between as signs of life, until it is finished or its client gone."""
    while True:
        item = outlet.take()
        if item is not None:
            await exchange.write(event_stream.message(*item))
        elif outlet.beat:
            outlet.beat = False
            await exchange.write(event_stream.HEARTBEAT)
        elif outlet.state != OPEN:
            return
        else:
            await outlet.wait()
        if outlet.state == GONE:
            return
