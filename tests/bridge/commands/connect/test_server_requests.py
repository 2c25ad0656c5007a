"""Which requests of the server the client of `connect` has not answered."""

from mcpbridged.bridge.commands.connect.server_requests import OpenServerRequests


def test_a_response_removes_its_request_whatever_its_spelling():
    requests = OpenServerRequests()
    requests.add(b"1.0")
    requests.add(b'"a"')
    assert requests.remove(1)
    assert not requests.remove(1)
    assert requests.on_disconnect() == [b'"a"']


def test_a_late_response_to_a_lost_connection_is_known_once():
    requests = OpenServerRequests()
    requests.add(b"1")
    requests.on_disconnect()
    assert not requests.remove(1)
    assert [requests.remove_lost(1), requests.remove_lost(1)] == [True, False]


def test_a_new_request_takes_the_id_of_a_lost_one():
    requests = OpenServerRequests()
    requests.add(b"1")
    requests.on_disconnect()
    requests.add(b"1")
    assert not requests.remove_lost(1)
    assert requests.remove(1)


def test_requests_are_stored_within_limits():
    requests = OpenServerRequests()
    for number in range(129):
        requests.add(b"%d" % number)
    assert len(requests.on_disconnect()) == 128
    requests.add(b'"new"')
    assert requests.on_disconnect() == [b'"new"']
    assert not requests.remove_lost(0)
    assert requests.remove_lost(1)
    assert requests.remove_lost("new")
