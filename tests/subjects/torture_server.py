"""The server of the scenario `torture`: HTTP/1.1 in every way that the standard allows and a library would not choose.

It answers as the query of the target says (`how=`), and logs each answer that it wrote whole, and each exchange that it broke off on purpose (`aborted`).
The first line on standard output has its ports: `plain`, one where each byte is looked at before it is read (`peeked`), one that reads single bytes
(`sipped`), one whose connections are accepted by one process and served by another (`passed`), one that reads a request only when its connection was reset
(`late`), and one that does so over TLS, behind a request that it answers (`secure`). It ends with its standard input.

    torture_server.py LOG CERTIFICATE KEY
"""

import functools
import json
import os
import select
import socket
import ssl
import struct
import sys
import tempfile
import threading
from urllib.parse import parse_qs, urlsplit

# What a parser that looks into bodies would take for messages.
LURE = b"HTTP/1.1 418 Lure\r\nContent-Length: 0\r\n\r\nGET /lure HTTP/1.1\r\nHost: lure\r\n\r\n"


class Log:
    """Whole lines, from threads and processes: one write each, at the end of the file."""

    def __init__(self, path):
        self.file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def write(self, method, path, status, aborted=False):
        line = {"method": method, "path": path, "status": status, "aborted": aborted}
        os.write(self.file, (json.dumps(line) + "\n").encode())


def reset(connection):
    """Closes with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Reader:
    """Requests from a connection, one after the other, and answers that wait for the last of them."""

    def __init__(self, connection, peeks, size):
        self.connection = connection
        self.peeks = peeks
        self.size = size
        self.buffer = b""
        self.later = []

    def more(self):
        if self.peeks:
            self.connection.recv(65536, socket.MSG_PEEK)
        data = self.connection.recv(self.size)
        self.buffer += data
        return data

    def until(self, end):
        while end not in self.buffer:
            if not self.more():
                return None
        text, self.buffer = self.buffer.split(end, 1)
        return text

    def exactly(self, size):
        while len(self.buffer) < size:
            if not self.more():
                raise ConnectionError("the body is cut short")
        self.buffer = self.buffer[size:]

    def head(self):
        text = b""
        while not text.strip():
            text = self.until(b"\r\n\r\n")
            if text is None:
                return None
        # RFC 9112, 2.2: empty lines before a request are to be ignored.
        line, *fields = text.decode("latin-1").lstrip("\r\n").split("\r\n")
        method, target, version = line.split(" ")
        fields = {k.lower(): v.strip() for k, v in (field.split(":", 1) for field in fields)}
        return method, target, version, fields

    def proxy(self):
        """Reads a header of the PROXY protocol, version 1 or 2, if there is one."""
        while len(self.buffer) < 16:
            if not self.more():
                return
        if self.buffer.startswith(b"PROXY "):
            self.until(b"\r\n")
        elif self.buffer.startswith(b"\r\n\r\n\0\r\nQUIT\n"):
            self.exactly(16 + int.from_bytes(self.buffer[14:16], "big"))

    def body(self, fields):
        if fields.get("transfer-encoding") == "chunked":
            while True:
                size = int(self.until(b"\r\n").split(b";")[0], 16)
                if size == 0:
                    break
                self.exactly(size + 2)
            while self.until(b"\r\n"):
                pass
        else:
            self.exactly(int(fields.get("content-length", 0)))


class Server:
    def __init__(self, log):
        self.log = log
        self.file = tempfile.TemporaryFile()
        self.file.write(b"f" * 50_000)
        self.file.flush()

    def serve(self, connection, peeks=False, size=65536):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(connection, peeks, size)
        try:
            reader.proxy()
            while self.one(connection, reader):
                pass
            connection.close()
        except (ConnectionError, OSError, ValueError):
            connection.close()

    def late(self, connection, reader=None):
        """Reads what came before the other end's RST, and can't answer it."""
        broken = select.poll()
        broken.register(connection, 0)
        broken.poll(10_000)
        method, target, _, _ = (reader or Reader(connection, False, 65536)).head()
        self.log.write(method, urlsplit(target).path, 0)
        connection.close()

    def secure(self, connection, context):
        """The same over TLS, behind a request that is answered."""
        connection = context.wrap_socket(connection, server_side=True)
        reader = Reader(connection, False, 65536)
        self.one(connection, reader)
        self.late(connection, reader)

    def one(self, connection, reader):
        """One exchange; whether the connection goes on."""
        head = reader.head()
        if head is None:
            return False
        method, target, version, fields = head
        path = urlsplit(target).path
        query = {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()}
        how = query.get("how", "plain")
        status = int(query.get("status", 200))
        size = int(query.get("size", 10))
        body = b"b" * size
        send = connection.sendall

        def head_of(status, *fields):
            lines = [f"HTTP/1.1 {status} As asked", *fields]
            return ("\r\n".join(lines) + "\r\n\r\n").encode()

        def done(aborted=False):
            self.log.write(method, path, status, aborted)

        whole = head_of(status, f"Content-Length: {size}")
        if status != 204 and status != 304 and method != "HEAD":
            whole += body
        if how != "early":
            if fields.get("expect") == "100-continue":
                send(b"HTTP/1.1 100 Continue\r\n\r\n")
            reader.body(fields)
        match how:
            case "early":
                send(whole)
                done()
                reader.body(fields)
                return True
            case "bytes":
                for at in range(len(whole)):
                    send(whole[at : at + 1])
            case "parts":
                rest = [whole[at : at + 3] for at in range(0, len(whole), 3)]
                while rest:
                    connection.sendmsg(rest[:100])
                    rest = rest[100:]
            case "file":
                send(head_of(status, "Content-Length: 50000"))
                sent = 0
                while sent < 50_000:
                    sent += os.sendfile(
                        connection.fileno(), self.file.fileno(), sent, 50_000 - sent
                    )
            case "batch":
                # All answers of a pipeline at once, with the last of them.
                reader.later.append((whole, (method, path, status)))
                if "last" in query:
                    send(b"".join(answer for answer, _ in reader.later))
                    for _, line in reader.later:
                        self.log.write(*line)
                return True
            case "hints":
                send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
                send(whole)
            case "lure":
                # The body comes in segments of its own, each of which looks like a message.
                send(head_of(status, f"Content-Length: {3 * len(LURE)}"))
                for _ in range(3):
                    send(LURE)
            case "chunked":
                send(head_of(status, "Transfer-Encoding: chunked"))
                for _ in range(3):
                    send(b"%x;note=x\r\n" % len(LURE))
                    send(LURE)
                    send(b"\r\n")
                send(b"0\r\nTrailer: x\r\n\r\n")
            case "close":
                send(b"HTTP/1.0 200 OK\r\n\r\n" + body)
                connection.shutdown(socket.SHUT_WR)
                done()
                return False
            case "thread":
                writer = threading.Thread(target=send, args=(whole,))
                writer.start()
                writer.join()
            case "fork":
                child = os.fork()
                if child == 0:
                    send(whole)
                    os._exit(0)
                os.waitpid(child, 0)
            case "upgrade":
                status = 101
                send(head_of(101, "Connection: Upgrade", "Upgrade: lure"))
                done()
                # No HTTP from here on, whatever it looks like.
                while data := connection.recv(65536):
                    send(data)
                return False
            case "hang":
                done(aborted=True)
                connection.recv(1)
                return False
            case "half":
                done(aborted=True)
                send(whole[: len(whole) - size // 2])
                reset(connection)
                return False
            case _:
                send(whole)
        done()
        return True


def listen():
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    return listener, listener.getsockname()[1]


def accepting(listener, serve):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def passing(listener, server):
    """Accepts in a process of its own, and serves in another that is handed the sockets."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        # Ends with the server, whose end of the pair goes with it.
        while True:
            message, fds, _, _ = socket.recv_fds(theirs, 16, 1)
            if not message:
                os._exit(0)
            connection = socket.socket(fileno=fds[0])
            threading.Thread(target=server.serve, args=(connection,), daemon=True).start()
    theirs.close()

    def hand_over(connection):
        socket.send_fds(ours, [b"socket"], [connection.fileno()])
        connection.close()

    return threading.Thread(target=accepting, args=(listener, hand_over), daemon=True)


def main():
    server = Server(Log(sys.argv[1]))
    listeners = {name: listen() for name in ("plain", "peeked", "sipped", "passed", "late", "secure")}
    # It forks, so that it comes before any thread.
    threads = [passing(listeners["passed"][0], server)]
    for name, how in (("plain", {}), ("peeked", {"peeks": True}), ("sipped", {"size": 1})):
        arguments = (listeners[name][0], functools.partial(server.serve, **how))
        threads.append(threading.Thread(target=accepting, args=arguments, daemon=True))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[2:4])
    secure = functools.partial(server.secure, context=context)
    for name, serve in (("late", server.late), ("secure", secure)):
        arguments = (listeners[name][0], serve)
        threads.append(threading.Thread(target=accepting, args=arguments, daemon=True))
    for thread in threads:
        thread.start()
    print(json.dumps({name: port for name, (_, port) in listeners.items()}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
