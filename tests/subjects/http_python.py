"""Python's own HTTP server, and the client `requests`; see README.md."""

import argparse
import http.client
import http.server
import json
import platform
import socket
import ssl
import sys
import threading
import time
from concurrent import futures
from urllib.parse import urlsplit

BODIES = {"/small": 100, "/medium": 5_000, "/large": 100_000}
STATUSES = {"/empty": 204, "/upload": 201, "/moved": 301, "/error": 500}


class Log:
    """Whole lines, also from many threads."""

    def __init__(self, path):
        self.file = open(path, "w")
        self.lock = threading.Lock()

    def write(self, **record):
        line = json.dumps(record) + "\n"
        with self.lock:
            self.file.write(line)
            self.file.flush()


def say(**record):
    print(json.dumps(record), flush=True)


def versions(library, tls):
    return {"library": library, **({"tls": " ".join(ssl.OPENSSL_VERSION.split()[:2])} if tls else {})}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it, heads and bodies in two segments wait for each other's acknowledgement.
    disable_nagle_algorithm = True

    def parse_request(self):
        # The request line was read just now.
        self.start = time.monotonic()
        return super().parse_request()

    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        while length > 0:
            length -= len(self.rfile.read(min(length, 65536)))
        status = STATUSES.get(self.path)
        size = BODIES.get(self.path, 0)
        chunked = self.path == "/chunked"
        if status is None:
            known = size > 0 or chunked or self.path.startswith("/users/")
            status = 200 if known else 404
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "/small")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif status != 204:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            if chunked:
                for _ in range(3):
                    self.wfile.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
                self.wfile.write(b"0\r\n\r\n")
            elif size:
                self.wfile.write(b"x" * size)
        end = time.monotonic()
        self.server.log.write(
            side="server",
            method=self.command,
            path=self.path,
            status=status,
            start=self.start,
            seconds=end - self.start,
        )

    do_GET = do_HEAD = do_POST = answer

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, log, context):
        self.log = log
        self.context = context
        super().__init__(("127.0.0.1", 0), Handler)

    def finish_request(self, request, client_address):
        # In the connection's own thread, so that a handshake holds up no other connection.
        if self.context:
            request = self.context.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        finally:
            request.close()

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)


def serve(arguments):
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate, arguments.key)
    server = Server(Log(arguments.log), context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say(
        listening=server.server_port,
        **versions(f"http.server of Python {platform.python_version()}", context),
    )
    sys.stdin.read()


def ask(arguments):
    import requests

    log = Log(arguments.log)
    moment = threading.local()
    send = http.client.HTTPConnection.send

    def noting_send(connection, data):
        # A plain connection is made within the first send; the clock starts when it stands.
        if connection.sock is None and connection.auto_open:
            connection.connect()
        if moment.start is None:
            moment.start = time.monotonic()
        return send(connection, data)

    http.client.HTTPConnection.send = noting_send
    readinto = socket.SocketIO.readinto

    def noting_readinto(stream, into):
        # What the library does after its last read is none of the exchange's time.
        count = readinto(stream, into)
        moment.end = time.monotonic()
        return count

    socket.SocketIO.readinto = noting_readinto

    def work(plan):
        session = requests.Session()
        session.trust_env = False
        session.verify = arguments.certificate
        for request in plan:
            if request["fresh"]:
                session.close()
            moment.start = None
            answer = session.request(
                request["method"],
                arguments.url + request["path"],
                data=b"x" * request["body"] or None,
                allow_redirects=False,
            )
            # `content` was read within.
            log.write(
                side="client",
                method=request["method"],
                path=urlsplit(answer.url).path,
                status=answer.status_code,
                start=moment.start,
                seconds=moment.end - moment.start,
            )
        session.close()

    with open(arguments.plan) as plan:
        plans = json.load(plan)
    say(
        **versions(
            f"requests {requests.__version__} of Python {platform.python_version()}",
            arguments.certificate,
        )
    )
    with futures.ThreadPoolExecutor(len(plans)) as workers:
        list(workers.map(work, plans))
    time.sleep(0.3)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--log", required=True)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--url")
    parser.add_argument("--plan")
    arguments = parser.parse_args()
    (serve if arguments.role == "server" else ask)(arguments)


if __name__ == "__main__":
    main()
