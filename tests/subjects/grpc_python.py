"""gRPC's own Python library as server and client, unary and streaming; see README.md.

Messages are bytes without a schema, for what is in them does not matter here.
"""

import argparse
import json
import sys
import threading
import time
from concurrent import futures

import grpc

SERVICE = "subjects.Echo"
PIECES = 5


class Log:
    """Whole lines, also from many threads."""

    def __init__(self, path):
        self.file = open(path, "w")
        self.lock = threading.Lock()

    def write(self, side, rpc, code, start):
        seconds = time.monotonic() - start
        record = {
            "side": side,
            "service": SERVICE,
            "rpc": rpc,
            "code": code,
            "start": start,
            "seconds": seconds,
        }
        with self.lock:
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()


def handlers(log):
    def noted(rpc, code):
        return lambda start: log.write("server", rpc, code, start)

    def unary(request, context):
        start = time.monotonic()
        context.add_callback(lambda: noted("Unary", "OK")(start))
        return request

    def missing(request, context):
        start = time.monotonic()
        context.add_callback(lambda: noted("Missing", "NOT_FOUND")(start))
        context.abort(grpc.StatusCode.NOT_FOUND, "there is none")

    def server_stream(request, context):
        start = time.monotonic()
        context.add_callback(lambda: noted("ServerStream", "OK")(start))
        for _ in range(PIECES):
            yield request

    def client_stream(requests, context):
        start = time.monotonic()
        context.add_callback(lambda: noted("ClientStream", "OK")(start))
        return b"".join(requests)

    def both(requests, context):
        start = time.monotonic()
        context.add_callback(lambda: noted("Both", "OK")(start))
        yield from requests

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Unary": grpc.unary_unary_rpc_method_handler(unary),
            "Missing": grpc.unary_unary_rpc_method_handler(missing),
            "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
            "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
            "Both": grpc.stream_stream_rpc_method_handler(both),
        },
    )


def read(path):
    with open(path, "rb") as file:
        return file.read()


def say(tls, **more):
    # gRPC brings a BoringSSL of its own, without a version.
    of = {"library": f"grpcio {grpc.__version__}", **({"tls": "BoringSSL (static)"} if tls else {})}
    print(json.dumps({**of, **more}), flush=True)


def serve(arguments):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((handlers(Log(arguments.log)),))
    if arguments.certificate:
        pair = (read(arguments.key), read(arguments.certificate))
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say(arguments.certificate, listening=port)
    sys.stdin.read()
    server.stop(grace=1).wait()


def call(channel, ask, log):
    rpc = ask["path"].rsplit("/", 1)[1]
    path = f"/{SERVICE}/{rpc}"
    message = b"x" * ask["body"]
    pieces = (message for _ in range(PIECES))
    start = time.monotonic()
    code = "OK"
    try:
        match rpc:
            case "ServerStream":
                list(channel.unary_stream(path)(message))
            case "ClientStream":
                channel.stream_unary(path)(pieces)
            case "Both":
                list(channel.stream_stream(path)(pieces))
            case _:
                channel.unary_unary(path)(message)
    except grpc.RpcError as error:
        code = error.code().name
    log.write("client", rpc, code, start)


def ask(arguments):
    log = Log(arguments.log)
    say(arguments.certificate)

    def connect():
        # Of its own: channels to one address share their connections otherwise.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        target = arguments.url.split("://")[1]
        if arguments.certificate:
            credentials = grpc.ssl_channel_credentials(read(arguments.certificate))
            channel = grpc.secure_channel(target, credentials, options)
        else:
            channel = grpc.insecure_channel(target, options)
        grpc.channel_ready_future(channel).result(timeout=20)
        return channel

    def work(plan):
        channel = connect()
        for request in plan:
            if request["fresh"]:
                channel.close()
                channel = connect()
            call(channel, request, log)
        channel.close()

    with open(arguments.plan) as plan:
        plans = json.load(plan)
    with futures.ThreadPoolExecutor(len(plans)) as workers:
        list(workers.map(work, plans))
    time.sleep(0.3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--log", required=True)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--url")
    parser.add_argument("--plan")
    parser.add_argument("--http2", action="store_true", help="gRPC is nothing else")
    arguments = parser.parse_args()
    (serve if arguments.role == "server" else ask)(arguments)


if __name__ == "__main__":
    main()
