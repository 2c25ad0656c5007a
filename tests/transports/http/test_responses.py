"""Headers and error bodies that all HTTP responses share."""

from mcpbridged.transports.http.responses import SAFE_LINES, last_response
from mcpbridged.validators.rejection import INVALID_REQUEST, Rejection, retry_after


def test_the_last_response_of_a_connection_has_all_headers_of_its_rejection():
    rejection = Rejection(503, INVALID_REQUEST, "full", headers=retry_after(1))
    head, _, body = last_response(rejection).partition(b"\r\n\r\n")
    assert (
        body
        == b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"full","data":{"correlationId":"%b"}}}'
        % (rejection.correlation_id.encode())
    )
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n" + SAFE_LINES)
    assert head.endswith(
        b"Content-Type: application/json\r\nRetry-After: 1\r\nX-Request-Id: %b\r\nConnection: close\r\n"
        b"Content-Length: %d" % (rejection.correlation_id.encode(), len(body))
    )
