"""A client for the scenario `torture`: HTTP/2 in frames made by hand, against a server that somebody else wrote and that logs what it took them for.

Usage: torture_h2.py PORT ROUNDS. Each case asks for a route of its own. It fails where the server refuses a frame.
"""

import socket
import struct
import sys
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, UNKNOWN = 6, 7, 8, 9, 0xFA
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY = 1, 4, 8, 32
ACK = 1

# RFC 7541, appendix A: entries of the static table.
AUTHORITY, GET, POST, PATH, SCHEME_HTTP = 1, 2, 3, 4, 6


def integer(value, bits, flags):
    """RFC 7541, 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([flags | value])
    out, value = bytes([flags | most]), value - most
    while value >= 128:
        out += bytes([value % 128 | 128])
        value //= 128
    return out + bytes([value])


def string(text):
    return integer(len(text), 7, 0) + text.encode()


def indexed(index):
    return integer(index, 7, 0x80)


def literal(name, value, keep=False):
    """A field with a name from a table, or a new one; kept in the dynamic table or not."""
    bits, flags = (6, 0x40) if keep else (4, 0)
    if isinstance(name, int):
        return integer(name, bits, flags) + string(value)
    return integer(0, bits, flags) + string(name) + string(value)


def fields(method, path, *more):
    return b"".join(
        [indexed(method), indexed(SCHEME_HTTP), literal(PATH, path), literal(AUTHORITY, "torture"), *more]
    )


class Connection:
    def __init__(self, port, dribble=False):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.dribble = dribble
        self.buffer = b""
        self.stream = -1
        # Streams that were answered to the end, and those that the server gave up.
        self.over, self.given_up = set(), set()
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(SETTINGS, 0, 0)

    def send(self, data):
        if not self.dribble:
            return self.socket.sendall(data)
        for at in range(len(data)):
            self.socket.sendall(data[at : at + 1])

    def frame(self, kind, flags, stream, payload=b""):
        self.send(struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload)

    def open(self):
        self.stream += 2
        return self.stream

    def ask(self, block, flags=END_HEADERS | END_STREAM):
        stream = self.open()
        self.frame(HEADERS, flags, stream, block)
        return stream

    def read(self):
        """Takes one frame of the server's."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self.buffer += data
        size = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        payload, self.buffer = self.buffer[9 : 9 + size], self.buffer[9 + size :]
        if kind == SETTINGS and not flags & ACK:
            self.frame(SETTINGS, ACK, 0)
        elif kind == GOAWAY and payload[4:8] != bytes(4):
            raise ConnectionError(f"the server gave up: {payload}")
        elif kind == RST_STREAM:
            self.given_up.add(stream)
        elif kind in (DATA, HEADERS) and flags & END_STREAM:
            self.over.add(stream)
        if kind == DATA and payload:
            self.frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload)))

    def finish(self, *streams):
        """Reads until these streams are over."""
        while not self.over.issuperset(streams):
            self.read()
            if self.given_up.intersection(streams):
                raise ConnectionError("the server reset a stream")

    def close(self):
        self.frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0))
        self.socket.close()


def continued(port, n):
    """A block in CONTINUATION frames of a byte each."""
    peer = Connection(port)
    for _ in range(3):
        block, stream = fields(GET, f"/echo/continued/{n}"), peer.open()
        peer.frame(HEADERS, END_STREAM, stream, block[:1])
        for at in range(1, len(block) - 1):
            peer.frame(CONTINUATION, 0, stream, block[at : at + 1])
        peer.frame(CONTINUATION, END_HEADERS, stream, block[-1:])
        peer.finish(stream)
    peer.close()


def padded(port, n):
    """Padding that looks like frames, and a priority, in HEADERS and DATA."""
    peer = Connection(port)
    for _ in range(3):
        lure = struct.pack(">I", 4)[1:] + struct.pack(">BBI", HEADERS, 5, 99) + b"\x82\x86\x84\x41"
        block = bytes([len(lure)]) + struct.pack(">IB", 0, 200) + fields(POST, f"/echo/padded/{n}") + lure
        stream = peer.ask(block, END_HEADERS | PADDED | HAS_PRIORITY)
        peer.frame(DATA, END_STREAM | PADDED, stream, bytes([len(lure)]) + b"x" * 40 + lure)
        peer.finish(stream)
    peer.close()


def dribbled(port, n):
    """A byte a segment, all of it."""
    peer = Connection(port, dribble=True)
    for _ in range(2):
        peer.finish(peer.ask(fields(GET, f"/echo/dribbled/{n}")))
    peer.close()


def interleaved(port, n):
    """Fifty streams open at a time, whose bodies come a byte of each in turn."""
    peer = Connection(port)
    streams = [peer.ask(fields(POST, f"/echo/interleaved/{n}"), END_HEADERS) for _ in range(50)]
    for _ in range(4):
        for stream in streams:
            peer.frame(DATA, 0, stream, b"x")
    for stream in reversed(streams):
        peer.frame(DATA, END_STREAM, stream)
    peer.finish(*streams)
    peer.close()


def remembered(port, n):
    """Fields kept in the dynamic table and named by number, before and after it shrinks to nothing and grows again."""
    peer = Connection(port)
    keep = [literal("x-kept", "k" * 30, keep=True)]
    path = literal(PATH, f"/echo/remembered/{n}", keep=True)
    head = indexed(GET) + indexed(SCHEME_HTTP)
    stream = peer.ask(head + path + literal(AUTHORITY, "torture", keep=True) + keep[0])
    # 62 is the newest: the field, the authority, the path.
    known = head + indexed(64) + indexed(63) + indexed(62)
    streams = [stream, *(peer.ask(known) for _ in range(3))]
    shrunk = integer(0, 5, 0x20) + integer(4096, 5, 0x20)
    streams.append(peer.ask(shrunk + head + path + literal(AUTHORITY, "torture", keep=True)))
    streams.append(peer.ask(head + indexed(63) + indexed(62)))
    peer.finish(*streams)
    peer.close()


def noisy(port, n):
    """Frames of no importance between those of a request, but not within a block."""
    peer = Connection(port)
    for _ in range(3):
        peer.frame(PING, 0, 0, b"GET /lur")
        peer.frame(UNKNOWN, 0xFF, 0, b"GET /lure HTTP/1.1\r\n\r\n")
        stream = peer.ask(fields(POST, f"/echo/noisy/{n}"), END_HEADERS)
        peer.frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1000))
        peer.frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 1))
        peer.frame(DATA, 0, stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        peer.frame(UNKNOWN, 0, stream, b"x" * 100)
        peer.frame(DATA, END_STREAM, stream, fields(GET, "/lure"))
        peer.finish(stream)
    peer.close()


def large_heads(port, n):
    """A block of 7,000 bytes in HEADERS and CONTINUATION, the path at its end."""
    peer = Connection(port)
    for _ in range(2):
        padding = literal("x-padding", "p" * 6900)
        block = indexed(GET) + indexed(SCHEME_HTTP) + literal(AUTHORITY, "torture")
        block, stream = block + literal(PATH, f"/echo/large-heads/{n}") + padding, peer.open()
        peer.frame(HEADERS, END_STREAM, stream, block[:3000])
        peer.frame(CONTINUATION, END_HEADERS, stream, block[3000:])
        peer.finish(stream)
    peer.close()


def reset(port, n):
    """Streams that are given up before their end, among others that are not."""
    peer = Connection(port)
    whole = []
    for _ in range(3):
        stream = peer.ask(fields(POST, f"/echo/reset/{n}"), END_HEADERS)
        peer.frame(DATA, 0, stream, b"x" * 10)
        peer.frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
        whole.append(peer.ask(fields(GET, f"/echo/beside-reset/{n}")))
    peer.finish(*whole)
    peer.close()


CASES = [continued, padded, dribbled, interleaved, remembered, noisy, large_heads, reset]


def main():
    port, rounds = int(sys.argv[1]), int(sys.argv[2])
    for number in range(rounds):
        for case in CASES:
            case(port, number)
    time.sleep(0.3)


if __name__ == "__main__":
    main()
