"""Attaches a program that returns at once to each raw tracepoint that is named, until standard input ends.

What these cost is what no program on the same events can cost less than.
"""

import ctypes
import os
import struct
import sys

# include/uapi/linux/bpf.h, and arch/x86/entry/syscalls/syscall_64.tbl.
SYS_BPF = 321
BPF_PROG_LOAD = 5
BPF_RAW_TRACEPOINT_OPEN = 17
BPF_PROG_TYPE_RAW_TRACEPOINT = 17
ATTRIBUTE_BYTES = 128

LIBC = ctypes.CDLL(None, use_errno=True)

# r0 = 0; exit
INSTRUCTIONS = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)


def bpf(command, attribute):
    buffer = ctypes.create_string_buffer(attribute, ATTRIBUTE_BYTES)
    result = LIBC.syscall(SYS_BPF, command, buffer, ATTRIBUTE_BYTES)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def load():
    instructions = ctypes.create_string_buffer(INSTRUCTIONS, len(INSTRUCTIONS))
    licence = ctypes.create_string_buffer(b"Dual MIT/GPL\0")
    attribute = struct.pack(
        "<IIQQ",
        BPF_PROG_TYPE_RAW_TRACEPOINT,
        len(INSTRUCTIONS) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
    )
    return bpf(BPF_PROG_LOAD, attribute)


def attach(tracepoint):
    name = ctypes.create_string_buffer(tracepoint.encode() + b"\0")
    return bpf(BPF_RAW_TRACEPOINT_OPEN, struct.pack("<QI", ctypes.addressof(name), load()))


def main():
    attached = [attach(tracepoint) for tracepoint in sys.argv[1:]]
    print(len(attached), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
