"""A client for the scenario `overflow`: it asks much, on connections that it keeps, whenever it is told to.

Usage: overflow_client.py PROTOCOL PORT CONNECTIONS [CERTIFICATE]; PROTOCOL is turns, pipelines or http2, and with a certificate it goes over TLS.

Each line on standard input is a number of requests: `12` has it ask so often on each of its connections, `fresh 12` so often on new ones, one after the
other. It says `done` and how many answers it has had since its start. What it asks for has a status of its own each time, so that an answer that is
given to the wrong request shows.
"""

import socket
import ssl
import sys

from torture_h2 import AUTHORITY, END_HEADERS, END_STREAM, GET, PATH, POST, SETTINGS, Connection, indexed, literal

# Method, path and status: tests/subjects/README.md has what servers answer. nginx closes the connection after a 500.
KINDS = [
    ("GET", "/users/{}", 200),
    ("POST", "/upload", 201),
    ("GET", "/empty", 204),
    ("GET", "/moved", 301),
    ("GET", "/missing", 404),
]

# A ring is full the sooner, the longer the heads are.
PADDING = "p" * 800

# Requests in one write; neither is a multiple of the number of kinds.
PIPELINE = 4
STREAMS = 8

# RFC 7541, appendix A.
SCHEME = {False: 6, True: 7}


class Kinds:
    """What a connection asks for, one after the other."""

    def __init__(self, start):
        self.at = start

    def next(self):
        method, path, status = KINDS[self.at % len(KINDS)]
        self.at += 1
        return method, path.format(self.at), status


class Http1:
    """HTTP/1.1: `depth` requests in a write, then as many answers."""

    def __init__(self, stream, kinds, depth):
        self.stream, self.kinds, self.depth = stream, kinds, depth
        self.buffer, self.expected = b"", []

    def ask(self, most):
        asked = [self.kinds.next() for _ in range(min(most, self.depth))]
        self.stream.sendall("".join(self.head(method, path) for method, path, _ in asked).encode())
        self.expected = [status for _, _, status in asked]
        return len(asked)

    def head(self, method, path):
        length = "Content-Length: 0\r\n" if method == "POST" else ""
        return f"{method} {path} HTTP/1.1\r\nHost: overflow\r\n{length}Padding: {PADDING}\r\n\r\n"

    def hear(self):
        for expected in self.expected:
            while b"\r\n\r\n" not in self.buffer:
                self.more()
            head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            line, *fields = head.decode().split("\r\n")
            fields = dict(field.lower().split(": ", 1) for field in fields)
            if fields.get("transfer-encoding"):
                raise ValueError("a chunked answer, which none of these is")
            if int(line.split(" ")[1]) != expected:
                raise ValueError(f"{line}, and {expected} was expected")
            length = int(fields.get("content-length", "0"))
            while len(self.buffer) < length:
                self.more()
            self.buffer = self.buffer[length:]

    def more(self):
        data = self.stream.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.buffer += data

    def close(self):
        self.stream.close()


class Http2(Connection):
    """HTTP/2: so many streams in a write, and then their ends."""

    def __init__(self, stream, kinds, secure):
        self.socket, self.kinds, self.secure = stream, kinds, secure
        self.buffer, self.stream, self.asked = b"", -1, []
        self.over, self.given_up = set(), set()
        # Frames that wait for one write; none while each is written at once.
        self.held = None
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(SETTINGS, 0, 0)

    def send(self, data):
        if self.held is None:
            self.socket.sendall(data)
        else:
            self.held.append(data)

    def ask(self, most):
        self.held = []
        self.asked = [self.one() for _ in range(min(most, STREAMS))]
        data, self.held = b"".join(self.held), None
        self.socket.sendall(data)
        return len(self.asked)

    def one(self):
        method, path, _ = self.kinds.next()
        names = indexed({"GET": GET, "POST": POST}[method]) + indexed(SCHEME[self.secure])
        # The authority goes into the table, and is named by its number from then on: what is missed of the table matters.
        authority = indexed(62) if self.stream > 0 else literal(AUTHORITY, "overflow", keep=True)
        return super().ask(
            names + literal(PATH, path) + authority + literal("padding", PADDING), END_HEADERS | END_STREAM
        )

    def hear(self):
        self.finish(*self.asked)
        # It would grow for as long as the connection lasts.
        self.over.clear()


class Client:
    def __init__(self, protocol, port, certificate):
        self.protocol, self.port, self.answers, self.opened = protocol, port, 0, 0
        self.context = None
        if certificate:
            self.context = ssl.create_default_context(cafile=certificate)
            self.context.set_alpn_protocols(["h2" if protocol == "http2" else "http/1.1"])

    def connect(self):
        stream = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context:
            stream = self.context.wrap_socket(stream, server_hostname="localhost")
        kinds = Kinds(self.opened)
        self.opened += 1
        if self.protocol == "http2":
            return Http2(stream, kinds, self.context is not None)
        return Http1(stream, kinds, PIPELINE if self.protocol == "pipelines" else 1)

    def ask(self, connections, requests):
        """So many requests on each of the connections."""
        asked = 0
        while asked < requests:
            for connection in connections:
                one = connection.ask(requests - asked)
            for connection in connections:
                connection.hear()
            asked += one
            self.answers += one * len(connections)


def main():
    protocol, port, count, *certificate = sys.argv[1:]
    client = Client(protocol, int(port), certificate[0] if certificate else None)
    connections = [client.connect() for _ in range(int(count))]
    for line in sys.stdin:
        *fresh, requests = line.split()
        if fresh:
            for _ in range(int(requests)):
                connection = client.connect()
                client.ask([connection], 1)
                connection.close()
        else:
            client.ask(connections, int(requests))
        print("done", client.answers, flush=True)
    for connection in connections:
        connection.close()


if __name__ == "__main__":
    main()
