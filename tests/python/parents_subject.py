#!/usr/bin/env python3
"""A server whose handlers ask another server before they answer, for tests of which request an outgoing one is a part of.

For GET /in/ID it asks http://127.0.0.1:BACKEND/users/ID, so that the two paths say which belong together. How it does so:

    threads   a thread for each connection, which asks and answers by itself
    loop      one thread, an event loop with many requests under way
    loops     two such threads; which of the two asks is random, the one that received the request answers it

Says where it listens in one line, and ends with its standard input.
"""

import argparse
import asyncio
import http.client
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What a handler does besides, in seconds: long enough for requests to be under way at the same time.
WORK = 0.004


def outgoing(path):
    prefix, _, number = path.rpartition("/")
    if prefix != "/in" or not number.isalnum():
        raise ValueError(f"an unexpected path: {path}")
    return f"/users/{number}"


def threads(port, backend):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        client = None

        def do_GET(self):
            time.sleep(random.uniform(0, WORK))
            if self.client is None:
                self.client = http.client.HTTPConnection("127.0.0.1", backend)
            self.client.request("GET", outgoing(self.path))
            body = self.client.getresponse().read()
            time.sleep(random.uniform(0, WORK))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

    Server(("127.0.0.1", port), Handler).serve_forever()


async def message(reader):
    """A head, and the body that its Content-Length tells of."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head, await reader.readexactly(length)


class Backend:
    """Connections of one loop to the backend."""

    def __init__(self, port):
        self.port = port
        self.idle = []

    async def ask(self, path):
        connection = self.idle.pop() if self.idle else None
        if connection is None:
            connection = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = connection
        writer.write(f"GET {path} HTTP/1.1\r\nHost: backend\r\n\r\n".encode())
        _, body = await message(reader)
        self.idle.append(connection)
        return body


async def serve(port, ask):
    async def connected(reader, writer):
        try:
            while True:
                head, _ = await message(reader)
                path = head.split(b" ", 2)[1].decode()
                await asyncio.sleep(random.uniform(0, WORK))
                body = await ask(outgoing(path))
                await asyncio.sleep(random.uniform(0, WORK))
                answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(answer.encode() + body)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(
        connected, "127.0.0.1", port, reuse_port=True, backlog=64
    )
    async with server:
        await server.serve_forever()


def loops(port, backend, count):
    running = []
    for _ in range(count):
        loop = asyncio.new_event_loop()
        running.append((loop, Backend(backend)))

    async def ask(path):
        loop, backend = random.choice(running)
        if loop is asyncio.get_running_loop():
            return await backend.ask(path)
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(backend.ask(path), loop)
        )

    for loop, _ in running:
        threading.Thread(
            target=loop.run_until_complete, args=(serve(port, ask),), daemon=True
        ).start()
    threading.Event().wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["threads", "loop", "loops"])
    parser.add_argument("port", type=int)
    parser.add_argument("backend", type=int)
    arguments = parser.parse_args()
    port, backend = arguments.port, arguments.backend
    run = {
        "threads": lambda: threads(port, backend),
        "loop": lambda: loops(port, backend, 1),
        "loops": lambda: loops(port, backend, 2),
    }[arguments.kind]
    threading.Thread(target=run, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
