"""An HTTP/2 client with access to every frame, for requests that HTTP libraries do not send."""

import h2.config
import h2.connection
import h2.events


class Client:
    """One HTTP/2 connection. The test decides when frames are sent and received."""

    def __init__(self, stream, port, token):
        self.stream = stream
        self.port = port
        self.token = token
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.answers = {}

    async def flush(self):
        data = self.h2.data_to_send()
        if data:
            await self.stream.send_all(data)

    async def open(self):
        self.h2.initiate_connection()
        await self.flush()

    def head(self, method="GET", path="/echo", *extra, token=""):
        headers = [
            (":method", method),
            (":scheme", "https"),
            (":authority", f"127.0.0.1:{self.port}"),
            (":path", path),
        ]
        if token is not None:
            headers.append(("authorization", f"Bearer {token or self.token}"))
        return [*headers, *extra]

    async def send_request(self, headers, body=None):
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, headers, end_stream=body is None)
        await self.flush()
        if body is not None:
            await self.send(number, body)
        return number

    async def send(self, number, body):
        while body:
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            if not room:
                await self.receive()
                continue
            piece, body = body[:room], body[room:]
            self.h2.send_data(number, piece, end_stream=not body)
            await self.flush()

    async def receive(self):
        """Receive the next bytes. Return False at the end of the connection."""
        data = await self.stream.receive_some()
        if not data:
            return False
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[b":status"]
                self.answers[event.stream_id] = [int(status), dict(event.headers), b"", False]
            elif isinstance(event, h2.events.DataReceived):
                self.answers[event.stream_id][2] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.answers[event.stream_id][3] = True
            elif isinstance(event, h2.events.ConnectionTerminated):
                return False
        await self.flush()
        return True

    async def answer(self, number):
        while number not in self.answers or not self.answers[number][3]:
            if not await self.receive():
                raise EOFError
        return self.answers[number]
