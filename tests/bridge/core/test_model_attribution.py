"""A model of a server process with several clients: every history of three calls, checked exhaustively.

The model knows what `Origins` cannot know: which calls the server may be working on. In a state, the server may ask on behalf of any of
these. If `assign` names a client, then every call that may have caused the request is of that client (Invariant I1). If all of them
are of one known client, and one of its calls runs, the request is not refused.

States that differ by the names of calls only are one. The search ends when no history leads to a new state.
"""

from collections import deque

import pytest

from mcpbridged.bridge.core.attribution import AFTER_ANSWER, Client, Origin, Origins, Phase

CANCELLED_SECONDS = 3.0
CALLS = 3
OPEN, HELD, CANCELLED, ANSWERED = "open", "held", "cancelled", "answered"
# Clients: two that are known, and one key that several programs may have.
CLIENTS = (Client("a"), Client("b"), Client("u", known=False))
# A history is a tuple of events: ("begin", client) or the name of an event with the number of a call, or ("tick",).


def declared(_method, _params):
    return True


class World:
    """`Origins` and the truth about the calls, after one history."""

    def __init__(self, history, rule=Origins.assign):
        self.rule = rule
        self.origins = Origins(CANCELLED_SECONDS, several=True)
        # For each call: its client, its state, and the seconds since its end.
        self.calls = []
        self.objects = []
        self.now = 0.0
        self.origins.tick(self.now)
        for event in history:
            self.apply(*event)

    def apply(self, name, number=0):
        match name:
            case "begin":
                wire_id = b"%d" % len(self.calls)
                self.calls.append([number, OPEN, 0])
                self.objects.append(self.origins.begin(wire_id, CLIENTS[number], None, declared))
            case "hold":
                self.calls[number][1] = HELD
                self.objects[number].phase = Phase.HELD
            case "cancel":
                self.calls[number][1:] = [CANCELLED, 0]
                self.origins.cancel(self.objects[number])
            case "answer":
                self.calls[number][1:] = [ANSWERED, 0]
                self.origins.answer(self.objects[number])
            case "tick":
                self.now += 1
                self.origins.tick(self.now)
                for call in self.calls:
                    if call[1] in (CANCELLED, ANSWERED):
                        # No time beyond these makes a difference.
                        call[2] = min(call[2] + 1, int(CANCELLED_SECONDS) + 3)

    @property
    def key(self):
        return tuple(sorted(map(tuple, self.calls)))

    def events(self):
        """Return what can happen next."""
        found = [("tick",)] if any(call[1] in (CANCELLED, ANSWERED) for call in self.calls) else []
        if len(self.calls) < CALLS:
            found += [("begin", number) for number in range(len(CLIENTS))]
        for number, (_, state, _) in enumerate(self.calls):
            if state == OPEN:
                found += [("hold", number), ("cancel", number), ("answer", number)]
            elif state == HELD:
                found += [("cancel", number), ("answer", number)]
            elif state == CANCELLED:
                found.append(("answer", number))
        return found

    def causes(self, slack=0):
        """Return the clients of the calls that the server may be working on, one entry for each call.

        Times are measured from the next tick on. With a `slack` (seconds), calls are included that the table may still have.
        """
        return [
            client
            for client, state, since in self.calls
            if state in (OPEN, HELD)
            or (state == CANCELLED and since < CANCELLED_SECONDS + slack)
            or (state == ANSWERED and since < AFTER_ANSWER + slack)
        ]

    def fault(self):
        """Return what is wrong with the decision in this state, or None."""
        found = self.rule(self.origins, "elicitation/create", b"{}")
        if isinstance(found, Origin):
            causes = self.causes()
            if any(CLIENTS[number] != found.client for number in causes):
                return f"assigned to {found.client.key}, and may be of another client"
            if not found.client.known and len(causes) > 1:
                return "assigned to one of several programs with one key"
            return None
        causes = {*self.causes(slack=2)}
        runs = any(state in (OPEN, HELD) for _, state, _ in self.calls)
        if runs and len(causes) == 1 and CLIENTS[min(causes)].known:
            return f"refused ({found.reason}), and can be of one client only"
        return None


def explore(rule=Origins.assign):
    """Return the number of states, and the first history whose decision is wrong, with the fault."""
    seen, waiting = {()}, deque([()])
    while waiting:
        history = waiting.popleft()
        world = World(history, rule)
        fault = world.fault()
        if fault is not None:
            return len(seen), history, fault
        for event in world.events():
            following = World((*history, event), rule)
            if following.key not in seen:
                seen.add(following.key)
                waiting.append((*history, event))
    return len(seen), None, None


def test_no_history_of_three_calls_leads_to_another_client_or_to_a_needless_refusal():
    states, history, fault = explore()
    assert history is None, fault
    # Each call has a client, and is open, held, or ended since 0 to 5 seconds. Not all of them can be reached.
    assert states > 2000


def newest(origins, _method, _params):
    """Assign to the newest call of all that run, as MCPB-2026-4 was."""
    running = [one for one in origins._by_id.values() if one.phase is Phase.RUNNING]
    return running[-1] if running else origins.assign(_method, _params)


def only_running(origins, _method, _params):
    """Ignore calls that were cancelled or answered a moment ago."""
    running = {one.client: one for one in origins._by_id.values() if one.phase in (Phase.RUNNING, Phase.HELD)}
    return next(iter(running.values())) if len(running) == 1 else origins.assign(_method, _params)


def never(origins, _method, _params):
    """Refuse all."""
    return Origins(CANCELLED_SECONDS).assign("elicitation/create", b"{}")


@pytest.mark.parametrize("rule", [newest, only_running, never])
def test_a_wrong_rule_is_found(rule):
    _, history, fault = explore(rule)
    assert fault is not None
    assert len(history) <= 3
