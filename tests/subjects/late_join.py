"""A client for the scenario `late-join`: opens connections, leaves each in the midst of something, and goes on when it is told to.

Usage: late_join.py LOG ROUNDS PLAIN TLS H2 H2TLS, the last four being ports of an nginx. It says `ready` once everything is open and under way, waits for a line on
standard input, and logs what it does from then on. Its last line on standard output says how many connections it had open, by what they speak, and how many calls it made.

`/after/` is what begins after that line and must be decoded. `/inflight/` began before. Of `/unknown/` the headers refer to what was said before. What is sent on a
pipeline before it was silent is `/behind/`.
"""

import json
import socket
import ssl
import struct
import sys
import threading
import time

from torture_h2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    POST,
    SETTINGS,
    WINDOW_UPDATE,
    Connection,
    fields,
    indexed,
    literal,
)

# What nginx answers to a path with this word.
STATUSES = {"ok": 200, "created": 201, "accepted": 202, "missing": 404, "conflict": 409}
WORDS = list(STATUSES)
BODY = b"b" * 200_000
# More than both ends' buffers hold.
LARGE = "large"
SILENCE = 1.3


class Log:
    def __init__(self, path):
        self.file = open(path, "w")

    def line(self, method, path, status):
        print(json.dumps({"method": method, "path": path, "status": status}), file=self.file, flush=True)


def connect(port, tls, alpn):
    peer = socket.socket()
    # So that a large answer is soon stuck.
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    peer.settimeout(30)
    peer.connect(("127.0.0.1", port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not tls:
        return peer
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    return context.wrap_socket(peer)


class Http1:
    """One that takes turns, as its callers do."""

    def __init__(self, port, tls, log):
        self.socket, self.log, self.buffer, self.number = connect(port, tls, "http/1.1"), log, b"", 0

    def send(self, method, path, body=b"", of_body=None):
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body[:of_body])

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.buffer += data

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        part, self.buffer = self.buffer.split(mark, 1)
        return part

    def exactly(self, size):
        while len(self.buffer) < size:
            size -= len(self.buffer)
            self.buffer = b""
            self.more()
        self.buffer = self.buffer[size:]

    def answer(self):
        head = self.until(b"\r\n\r\n").decode().lower()
        if "transfer-encoding: chunked" in head:
            while size := int(self.until(b"\r\n"), 16):
                self.exactly(size + 2)
            self.exactly(2)
        else:
            self.exactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        return int(head.split(" ")[1])

    def done(self, method, path):
        self.log.line(method, path, self.answer())

    def path(self, case):
        self.number += 1
        return f"{case}/{WORDS[self.number % len(WORDS)]}/{self.number}"

    def after(self, case, rounds):
        for _ in range(rounds):
            path = self.path(f"/after/{case}")
            self.send("GET", path)
            self.done("GET", path)


def idle(port, tls, log, rounds):
    peer = Http1(port, tls, log)
    peer.send("GET", "/before/idle/ok/0")
    peer.answer()
    yield
    peer.after("idle", rounds)


def never_used(port, tls, log, rounds):
    peer = Http1(port, tls, log)
    yield
    peer.after("never-used", rounds)


def uploading(port, tls, log, rounds):
    peer = Http1(port, tls, log)
    path = "/inflight/upload/0"
    peer.send("POST", path, BODY, 100_000)
    yield
    for at in range(100_000, len(BODY), 20_000):
        peer.socket.sendall(BODY[at : at + 20_000])
        time.sleep(0.01)
    peer.done("POST", path)
    peer.after("uploading", rounds)


def answered(name, path):
    """An answer is under way."""

    def turn(port, tls, log, rounds):
        peer = Http1(port, tls, log)
        peer.send("GET", path)
        peer.more()
        yield
        peer.done("GET", path)
        peer.after(name, rounds)

    return turn


def pipelined(port, tls, log, rounds):
    """Four requests are under way, and the answer to the first is stuck."""
    peer = Http1(port, tls, log)
    paths = [f"/inflight/{LARGE}/0"] + [peer.path("/inflight/piped") for _ in range(3)]
    for path in paths:
        peer.send("GET", path)
    peer.more()
    yield
    # More behind them, before their answers have come.
    for _ in range(2):
        paths.append(peer.path("/behind/piped"))
        peer.send("GET", paths[-1])
    for path in paths:
        peer.done("GET", path)
    time.sleep(SILENCE)
    for _ in range(rounds):
        paths = [peer.path("/after/piped") for _ in range(3)]
        for path in paths:
            peer.send("GET", path)
        for path in paths:
            peer.done("GET", path)


class Http2(Connection):
    def __init__(self, port, tls, log):
        self.socket, self.log = connect(port, tls, "h2"), log
        self.dribble, self.buffer, self.stream, self.number = False, b"", -1, 0
        self.over, self.given_up = set(), set()
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        # As large a window as there is, so that the connection's own is never in the way.
        self.frame(SETTINGS, 0, 0)
        self.frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 70_000))

    def get(self, case):
        self.number += 1
        word = WORDS[self.number % len(WORDS)]
        path = f"{case}/{word}/{self.number}"
        self.finish(self.ask(fields(GET, path)))
        self.log.line("GET", path, STATUSES[word])


def streams(port, tls, log, rounds):
    """A filled header table, and one stream of each kind under way."""
    peer = Http2(port, tls, log)
    known = [f"/unknown/table/{word}/{n}" for n, word in enumerate(WORDS)]
    for path in known:
        peer.finish(peer.ask(indexed(GET) + indexed(6) + literal(4, path, keep=True) + literal(1, "late", keep=True)))
    # Both entries of each, newest first, behind the 61 of the static table.
    indexes = {path: 62 + 2 * (len(known) - 1 - n) + 1 for n, path in enumerate(known)}
    upload = peer.ask(fields(POST, "/inflight/upload/0"), END_HEADERS)
    peer.frame(DATA, 0, upload, b"u" * 10_000)
    download = peer.ask(fields(GET, f"/inflight/{LARGE}/1"))
    peer.read()
    yield
    peer.frame(DATA, END_STREAM, upload, b"u" * 10_000)
    log.line("POST", "/inflight/upload/0", 201)
    # The stream's own window is used up by now.
    peer.frame(WINDOW_UPDATE, 0, download, struct.pack(">I", 2**30))
    peer.finish(upload, download)
    log.line("GET", f"/inflight/{LARGE}/1", 200)
    for path, index in indexes.items():
        peer.finish(peer.ask(indexed(GET) + indexed(6) + indexed(index) + literal(1, "late")))
        log.line("GET", path, STATUSES[path.split("/")[3]])
    for _ in range(rounds):
        peer.get("/after/streams")


def idle_streams(port, tls, log, rounds):
    peer = Http2(port, tls, log)
    peer.finish(peer.ask(fields(GET, "/before/idle-streams/ok/0")))
    yield
    for _ in range(rounds):
        peer.get("/after/idle-streams")


def grpc_server(listener):
    """Answers each message with one, and the end with a status."""
    peer = Connection.__new__(Connection)
    peer.socket, _ = listener.accept()
    peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.dribble, peer.buffer, peer.given_up = False, b"", set()
    while len(peer.buffer) < 24:
        peer.buffer += peer.socket.recv(24 - len(peer.buffer))
    peer.buffer = b""
    peer.frame(SETTINGS, 0, 0)
    while True:
        while len(peer.buffer) < 9 or len(peer.buffer) < 9 + int.from_bytes(peer.buffer[:3], "big"):
            data = peer.socket.recv(65536)
            if not data:
                return
            peer.buffer += data
        size = int.from_bytes(peer.buffer[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", peer.buffer[3:9])
        payload, peer.buffer = peer.buffer[9 : 9 + size], peer.buffer[9 + size :]
        if kind == HEADERS:
            peer.frame(HEADERS, END_HEADERS, stream, indexed(8) + literal("content-type", "application/grpc"))
        if kind == DATA and payload:
            peer.frame(DATA, 0, stream, payload)
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            peer.frame(HEADERS, END_HEADERS | END_STREAM, stream, literal("grpc-status", "0"))


MESSAGE = struct.pack(">BI", 0, 5) + b"hello"


def grpc(_, __, log, rounds):
    """A stream of messages both ways, and calls behind it."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=grpc_server, args=(listener,), daemon=True).start()
    peer = Http2(listener.getsockname()[1], False, log)
    block = fields(POST, "/late.Greeter/Chat", literal("content-type", "application/grpc"), literal("te", "trailers"))

    def talk(stream, times):
        for _ in range(times):
            peer.frame(DATA, 0, stream, MESSAGE)
            peer.read()

    chat = peer.ask(block, END_HEADERS)
    talk(chat, 5)
    yield
    talk(chat, 5)
    peer.frame(DATA, END_STREAM, chat)
    peer.finish(chat)
    for _ in range(rounds):
        call = peer.ask(block, END_HEADERS)
        peer.frame(DATA, END_STREAM, call, MESSAGE)
        peer.finish(call)


def other(_, __, ___, rounds):
    """No HTTP at all, both ways."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    message = struct.pack(">IHH", 0x1A2B3C4D, 7, 1) + b"not a protocol that anybody reads"

    def echo():
        for one, two in (client, server), (server, client):
            one.sendall(message)
            two.recv(len(message))

    echo()
    yield
    for _ in range(20 * rounds):
        echo()


def main():
    log, rounds, plain, tls, h2, h2_tls = Log(sys.argv[1]), *map(int, sys.argv[2:])
    downloading = answered("downloading", f"/inflight/{LARGE}/0")
    chunked = answered("chunked", "/inflight/chunked/0")
    turns = [idle, never_used, uploading, downloading, chunked, pipelined]
    both = [streams, idle_streams]
    open_ones = [case(plain, False, log, rounds) for case in turns]
    # TLS that was never used has had its handshake.
    open_ones += [case(tls, True, log, rounds) for case in turns]
    open_ones += [case(h2, False, log, rounds) for case in both]
    open_ones += [case(h2_tls, True, log, rounds) for case in both]
    open_ones += [case(None, None, log, rounds) for case in (grpc, other)]
    for one in open_ones:
        next(one)
    print("ready", flush=True)
    sys.stdin.readline()
    for one in open_ones:
        # Each to its end.
        next(one, None)
    said = {"http1": 2 * len(turns), "http2": 2 * len(both) + 1, "other": 1, "calls": rounds}
    print(json.dumps(said), flush=True)
    # So that what was last on a connection ends by itself, and not with it.
    time.sleep(SILENCE)


main()
