"""The client of the scenario `torture`: what real programs do to HTTP/1.1, and what hostile ones do.

Each case has a route of its own (`/CASE/NUMBER`). Logged is each answer that was read whole, and each exchange that was broken off on purpose (`aborted`).
"""

import json
import os
import socket
import ssl
import sys
import threading
import time

from torture_server import LURE, Log, reset

LOG = None
PORTS = None


class Peer:
    """A connection, with what was read of it and not yet used."""

    def __init__(self, port="plain"):
        self.socket = socket.create_connection(("127.0.0.1", PORTS[port]))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send = self.socket.sendall
        self.buffer = b""

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed")
        self.buffer += data

    def until(self, end):
        while end not in self.buffer:
            self.more()
        text, self.buffer = self.buffer.split(end, 1)
        return text

    def exactly(self, size):
        while len(self.buffer) < size:
            self.more()
        self.buffer = self.buffer[size:]

    def answer(self, method, path):
        """Reads the final answer and logs it."""
        while True:
            line, *fields = self.until(b"\r\n\r\n").decode().split("\r\n")
            status = int(line.split(" ")[1])
            if status >= 200 or status == 101:
                break
        fields = dict(field.lower().split(": ", 1) for field in fields)
        if method == "HEAD" or status in (101, 204, 304):
            pass
        elif fields.get("transfer-encoding") == "chunked":
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                self.exactly(size + 2)
            while self.until(b"\r\n"):
                pass
        elif "content-length" in fields:
            self.exactly(int(fields["content-length"]))
        else:
            while self.socket.recv(65536):
                pass
        LOG.write(method, path, status)

    def ask(self, method, path, query="", fields="", body=b""):
        self.send(request(method, path, query, fields, body))
        self.answer(method, path)

    def close(self):
        self.socket.close()


def request(method, path, query="", fields="", body=b""):
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {path}?{query} HTTP/1.1\r\nHost: torture\r\n{length}{fields}\r\n"
    return head.encode() + body


def byte_by_byte(data, send):
    for at in range(len(data)):
        send(data[at : at + 1])


def fragments(n):
    """Heads of a byte a segment, both ways."""
    peer, path = Peer(), f"/fragments/{n}"
    for _ in range(3):
        byte_by_byte(request("GET", path, "how=bytes"), peer.send)
        peer.answer("GET", path)
    peer.close()


def parts(n):
    """Heads in many small parts of one call, both ways."""
    peer, path = Peer(), f"/parts/{n}"
    for _ in range(3):
        data = request("POST", path, "how=parts", body=b"x" * 50)
        peer.socket.sendmsg([data[at : at + 2] for at in range(0, len(data), 2)])
        peer.answer("POST", path)
    peer.close()


def long_heads(n):
    """Heads just below, at and beyond 8 KiB, in one call and in several."""
    peer, path = Peer(), f"/long/{n}"
    for size in (2000, 8191, 8192, 8193, 20_000):
        empty = len(request("GET", path, fields="Padding: \r\n"))
        data = request("GET", path, fields=f"Padding: {'p' * (size - empty)}\r\n")
        for step in (len(data), 1000):
            for at in range(0, len(data), step):
                peer.send(data[at : at + step])
            peer.answer("GET", path)
    peer.close()


def pipeline(n):
    """A hundred requests at once; the answers one by one, and all at once."""
    for how in ("plain", "batch"):
        peer, path = Peer(), f"/pipeline/{n}"
        asks = [request("GET", path, f"how={how}") for _ in range(99)]
        peer.send(b"".join(asks) + request("GET", path, f"how={how}&last=1"))
        for _ in range(100):
            peer.answer("GET", path)
        peer.ask("GET", f"/after-pipeline/{n}")
        peer.close()


def aborted(n):
    """Broken off: before the head is whole, before the answer, and within it."""
    peer = Peer()
    peer.send(request("GET", f"/aborted/{n}")[:25])
    reset(peer.socket)
    peer, path = Peer(), f"/aborted-waiting/{n}"
    LOG.write("GET", path, 0, aborted=True)
    peer.send(request("GET", path, "how=hang"))
    time.sleep(0.02)
    reset(peer.socket)
    peer, path = Peer(), f"/aborted-answer/{n}"
    LOG.write("GET", path, 200, aborted=True)
    peer.send(request("GET", path, "how=half&size=5000"))
    try:
        peer.answer("GET", path)
    except ConnectionError:
        peer.close()


def read_late(n):
    """Broken off before the server has read any of it: it reads the request all the same."""
    peer, path = Peer("late"), f"/read-late/{n}"
    peer.send(request("GET", path))
    LOG.write("GET", path, 0)
    reset(peer.socket)


def reset_secure(n):
    """The same over TLS, behind a request that is answered; again and again, as the kernel and the library use what they free for the next connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for _ in range(20):
        peer, path = Peer("secure"), f"/secure-late/{n}"
        peer.socket = context.wrap_socket(peer.socket)
        peer.send = peer.socket.sendall
        peer.ask("GET", f"/secure/{n}")
        peer.send(request("GET", path))
        LOG.write("GET", path, 0)
        reset(peer.socket)


def half_closed(n):
    """Nothing more will be asked, and the answer still comes."""
    peer, path = Peer(), f"/half-closed/{n}"
    peer.send(request("GET", path, "size=30000"))
    peer.socket.shutdown(socket.SHUT_WR)
    peer.answer("GET", path)
    peer.close()


def until_close(n):
    """A body that ends with the connection."""
    peer = Peer()
    peer.ask("GET", f"/until-close/{n}", "how=close&size=20000")
    peer.close()


def passed(n):
    """Served by another process than the one that accepted."""
    peer = Peer("passed")
    for _ in range(3):
        peer.ask("GET", f"/passed/{n}")
    peer.close()


def peeked(n):
    """Looked at before it is read."""
    peer = Peer("peeked")
    peer.ask("POST", f"/peeked/{n}", body=b"x" * 3000)
    peer.ask("GET", f"/peeked/{n}")
    peer.close()


def threads(n):
    """One thread sends, another receives, and so on the other end."""
    peer, path = Peer(), f"/threads/{n}"
    for _ in range(5):
        data = request("GET", path, "how=thread")
        sender = threading.Thread(target=peer.send, args=(data[:30],))
        sender.start()
        sender.join()
        sender = threading.Thread(target=peer.send, args=(data[30:],))
        sender.start()
        peer.answer("GET", path)
        sender.join()
    peer.close()


def forked(n):
    """A child answers on its parent's connection."""
    peer = Peer()
    for _ in range(2):
        peer.ask("GET", f"/forked/{n}", "how=fork")
    peer.close()


def reused(n):
    """Another connection under the same number, closed before or replaced in place."""
    peer = Peer()
    peer.ask("GET", f"/reused/{n}")
    number = peer.socket.fileno()
    peer.close()
    peer = Peer()
    peer.ask("GET", f"/reused/{n}")
    other = Peer()
    os.dup2(other.socket.fileno(), peer.socket.fileno())
    peer.ask("POST", f"/reused/{n}", body=b"x" * 10)
    other.ask("GET", f"/reused/{n}")
    peer.close()
    other.close()
    return number


def interim(n):
    """Answers before the answer."""
    peer = Peer()
    peer.ask("GET", f"/hints/{n}", "how=hints")
    path, body = f"/continue/{n}", b"x" * 5000
    fields = f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n"
    peer.send(request("POST", path, "status=201", fields))
    peer.until(b"\r\n\r\n")
    peer.send(body)
    peer.answer("POST", path)
    peer.close()


def early(n):
    """The answer comes before the body has ended."""
    peer, path = Peer(), f"/early/{n}"
    for _ in range(3):
        data = request("POST", path, "how=early&status=413", body=b"x" * 20_000)
        peer.send(data[:3000])
        time.sleep(0.01)
        peer.send(data[3000:])
        peer.answer("POST", path)
    peer.ask("GET", f"/after-early/{n}")
    peer.close()


def bodiless(n):
    """Answers that say how long a body would be, and have none."""
    peer = Peer()
    for _ in range(2):
        peer.ask("HEAD", f"/bodiless/{n}", "size=4000")
        peer.ask("GET", f"/bodiless/{n}", "size=4000&status=304")
        peer.ask("GET", f"/bodiless/{n}", "status=204&size=0")
    peer.close()


def files(n):
    """Bodies that no program ever has in its memory."""
    peer = Peer()
    for _ in range(3):
        peer.ask("GET", f"/files/{n}", "how=file")
    peer.close()


def lures(n):
    """Bodies of segments that look like messages, both ways."""
    peer, path = Peer(), f"/lures/{n}"
    for how in ("lure", "chunked"):
        peer.ask("GET", path, f"how={how}")
        data = request("POST", path, f"how={how}", f"Content-Length: {2 * len(LURE)}\r\n")
        for piece in (data, LURE, LURE):
            peer.send(piece)
            time.sleep(0.002)
        peer.answer("POST", path)
        peer.send(request("POST", path, "", "Transfer-Encoding: chunked\r\n"))
        for _ in range(2):
            peer.send(b"%x\r\n" % len(LURE))
            peer.send(LURE)
            peer.send(b"\r\n")
        peer.send(b"0\r\n\r\n")
        peer.answer("POST", path)
    peer.close()


def upgraded(n):
    """What looks like HTTP on a connection that has left it."""
    peer, path = Peer(), f"/upgraded/{n}"
    fields = "Connection: Upgrade\r\nUpgrade: lure\r\n"
    peer.ask("GET", path, "how=upgrade", fields)
    for _ in range(3):
        peer.send(LURE)
        peer.exactly(len(LURE))
    peer.close()


def sipped(n):
    """Read a byte at a time."""
    peer = Peer("sipped")
    for _ in range(2):
        peer.ask("POST", f"/sipped/{n}", body=b"x" * 200)
    peer.close()


def proxied(n):
    """Behind the PROXY protocol, in a segment of its own and in the request's."""
    first = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n"
    addresses = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + (4711).to_bytes(2, "big") + (80).to_bytes(2, "big")
    second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + len(addresses).to_bytes(2, "big") + addresses
    for header in (first, second):
        for apart in (True, False):
            peer, path = Peer(), f"/proxied/{n}"
            data = request("GET", path)
            if apart:
                peer.send(header)
                time.sleep(0.002)
                peer.send(data)
            else:
                peer.send(header + data)
            peer.answer("GET", path)
            peer.ask("GET", path)
            peer.close()


def unusual(n):
    """Empty lines before a request, and a target with a scheme and a host."""
    peer, path = Peer(), f"/unusual/{n}"
    for before in ("\r\n", "\r\n\r\n"):
        peer.send(before.encode() + request("GET", path))
        peer.answer("GET", path)
    peer.send(request("GET", f"http://torture{path}"))
    peer.answer("GET", path)
    peer.close()


def large(n):
    """An answer that fits into no buffer, and is read slowly."""
    peer, path = Peer(), f"/large/{n}"
    peer.send(request("GET", path, "size=3000000"))
    time.sleep(0.02)
    peer.answer("GET", path)
    peer.ask("POST", path, body=b"x" * 3_000_000)
    peer.close()


def garbage(n):
    """No HTTP at all, some of it nearly."""
    for data in (b"\x16\x03\x01\x02\x00", b"GET lost\n", b"GETTING / HTTP/1.1\r\n", b"\r\n" * 50):
        peer = Peer()
        peer.send(data * (n + 1))
        peer.socket.shutdown(socket.SHUT_WR)
        try:
            while peer.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        peer.close()


CASES = [
    fragments,
    parts,
    long_heads,
    pipeline,
    aborted,
    read_late,
    half_closed,
    until_close,
    passed,
    peeked,
    threads,
    forked,
    reused,
    interim,
    early,
    bodiless,
    files,
    lures,
    upgraded,
    sipped,
    proxied,
    unusual,
    large,
    garbage,
    reset_secure,
]


def main():
    global LOG, PORTS
    LOG = Log(sys.argv[1])
    PORTS = json.loads(sys.argv[2])
    rounds = int(sys.argv[3])
    socket.setdefaulttimeout(20)
    for number in range(rounds):
        for case in CASES:
            case(number)
    # Whoever is gone before fathom looks has no service name.
    time.sleep(0.3)


if __name__ == "__main__":
    main()
