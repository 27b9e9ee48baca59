"""When requests over HTTP/2 were on the wire, by the kernel's time stamps of packets: a clock that is neither the program's nor fathom's.

Takes packets of the loopback device to and from --port until its standard input ends, and only then looks at them, so that it takes no time from
whoever is watched. Writes a JSON object for each stream, {"start", "seconds"}: from the packet with the first byte of the request to that with the last
byte of the answer, seconds since 1970. The first line says that packets are being taken.
"""

import argparse
import json
import socket
import struct
import sys

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM = 0, 1, 3
END_STREAM = 1

EVERY_PROTOCOL = 3
OUTGOING = 4
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
ROOM = 256 * 1024 * 1024


class Direction:
    """The bytes of one end, in order, each packet with its time."""

    def __init__(self, preface):
        self.next = None
        self.held = {}
        self.buffer = bytearray()
        self.began = None
        self.skip = len(preface)

    def packet(self, sequence, payload, time):
        """Gives back frames: type, flags, stream, time of the first byte, time of the last byte."""
        if self.next is None:
            self.next = sequence
        self.held.setdefault(sequence, (payload, time))
        while self.next in self.held:
            payload, time = self.held.pop(self.next)
            self.next = (self.next + len(payload)) % 2**32
            yield from self.bytes(payload, time)

    def bytes(self, payload, time):
        if not self.buffer:
            self.began = time
        self.buffer += payload
        cut = min(self.skip, len(self.buffer))
        del self.buffer[:cut]
        self.skip -= cut
        while len(self.buffer) >= 9:
            length = 9 + int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < length:
                break
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
            yield kind, flags, stream, self.began, time
            del self.buffer[:length]
            self.began = time


class Connection:
    def __init__(self):
        self.asked = Direction(PREFACE)
        self.answered = Direction(b"")
        self.open = {}

    def packet(self, of_client, sequence, payload, time):
        direction = self.asked if of_client else self.answered
        for kind, flags, stream, first, last in direction.packet(sequence, payload, time):
            if of_client and kind == HEADERS:
                self.open.setdefault(stream, first)
            ended = kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM)
            if not of_client and ended and stream in self.open:
                start = self.open.pop(stream)
                yield {"start": start, "seconds": last - start}


def taken(tap):
    """Packets that wait, each with its time."""
    while True:
        try:
            packet, controls, _, address = tap.recvmsg(1 << 18, 64)
        except BlockingIOError:
            return
        if address[2] != OUTGOING:
            continue
        for level, kind, data in controls:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("qq", data)
                yield packet, seconds + nanoseconds / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
    tap.bind(("lo", 0))
    tap.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
    tap.setblocking(False)
    print(json.dumps({"library": "packets"}), flush=True)
    sys.stdin.read()
    connections = {}
    for packet, time in taken(tap):
        # Ethernet, IPv4, TCP.
        if packet[12:14] != b"\x08\x00" or packet[23] != socket.IPPROTO_TCP:
            continue
        ip = 14 + (packet[14] & 0x0F) * 4
        source, target, sequence = struct.unpack_from("!HHI", packet, ip)
        tcp, flags = ip + (packet[ip + 12] >> 4) * 4, packet[ip + 13]
        if port not in (source, target):
            continue
        of_client = target == port
        peer = source if of_client else target
        if flags & 2:
            # A port that is used again.
            if of_client:
                connections[peer] = Connection()
            continue
        if peer in connections and len(packet) > tcp:
            for found in connections[peer].packet(of_client, sequence, packet[tcp:], time):
                print(json.dumps(found))


if __name__ == "__main__":
    main()
