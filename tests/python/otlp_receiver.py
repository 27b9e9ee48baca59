#!/usr/bin/env python3
"""An OTLP/gRPC receiver made from the published protobuf schema, for tests.

Writes one JSON line for each request that it takes, to standard output or to --out:

    {"signal": "traces" | "metrics" | "profiles" | "logs", "headers": {...}, "request": {...}}

A line of "profiles" has "problems" besides: which of the schema's rules for its dictionary the request breaks, in words.

Here "request" is protobuf's own JSON form with the schema's field names and with every field, also those that hold
their default. The first line, {"listening": "127.0.0.1:PORT"}, says where it listens. Ends with its standard input, or
on SIGTERM.
"""

import argparse
import json
import signal
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.profiles.v1development import (
    profiles_service_pb2,
    profiles_service_pb2_grpc,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

import profile_dictionary


class Lines:
    """Whole lines, also from many threads."""

    def __init__(self, file):
        self.file = file
        self.lock = threading.Lock()

    def write(self, record):
        line = json.dumps(record, sort_keys=True)
        with self.lock:
            self.file.write(line + "\n")
            self.file.flush()


def unknown_fields(message):
    """The numbers of fields that the schema does not have, anywhere in the message."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    found = [field.field_number for field in UnknownFieldSet(message)]
    for descriptor, value in message.ListFields():
        if descriptor.type != descriptor.TYPE_MESSAGE:
            continue
        # A repeated field lists its messages; a single one is itself a message.
        for part in [value] if hasattr(value, "ListFields") else value:
            found.extend(unknown_fields(part))
    return found


def service(base, name, response, lines):
    class Service(base):
        def Export(self, request, context):
            record = {
                "signal": name,
                "headers": {key: str(value) for key, value in context.invocation_metadata()},
                "unknown_fields": unknown_fields(request),
                "request": MessageToDict(
                    request,
                    preserving_proto_field_name=True,
                    always_print_fields_with_no_presence=True,
                ),
            }
            if name == "profiles":
                record["problems"] = profile_dictionary.problems(request)
            lines.write(record)
            return response()

    return Service()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:0", help="address and port (0: any free one)")
    parser.add_argument("--out", help="file for the JSON lines instead of standard output")
    arguments = parser.parse_args()

    lines = Lines(open(arguments.out, "w") if arguments.out else sys.stdout)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=4),
        options=[("grpc.max_receive_message_length", 64 << 20)],
    )
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(
        service(
            trace_service_pb2_grpc.TraceServiceServicer,
            "traces",
            trace_service_pb2.ExportTraceServiceResponse,
            lines,
        ),
        server,
    )
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(
        service(
            metrics_service_pb2_grpc.MetricsServiceServicer,
            "metrics",
            metrics_service_pb2.ExportMetricsServiceResponse,
            lines,
        ),
        server,
    )
    profiles_service_pb2_grpc.add_ProfilesServiceServicer_to_server(
        service(
            profiles_service_pb2_grpc.ProfilesServiceServicer,
            "profiles",
            profiles_service_pb2.ExportProfilesServiceResponse,
            lines,
        ),
        server,
    )
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(
        service(
            logs_service_pb2_grpc.LogsServiceServicer,
            "logs",
            logs_service_pb2.ExportLogsServiceResponse,
            lines,
        ),
        server,
    )
    host, _, _ = arguments.listen.rpartition(":")
    port = server.add_insecure_port(arguments.listen)
    server.start()
    lines.write({"listening": f"{host}:{port}"})

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if not arguments.out:
        # A test that dies closes the pipe, and nothing is left behind.
        threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    stop.wait()
    server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
