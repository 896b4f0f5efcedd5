"""Asks a server that is silent over many connected sockets, and one that responds over two more, which were connected before. Prints what
those two are told, and whether a socket that is connected afterwards gets a response. Arguments: the two servers."""

import socket
import struct
import sys

SILENT, SERVER = sys.argv[1:]
QUERY = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\4host\7example\0" + struct.pack(">HH", 1, 1)


def connected(family, server):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(0.2)
    s.connect((server if family == socket.AF_INET else "::ffff:" + server, 53))
    return s


asking = [connected(family, SERVER) for family in (socket.AF_INET, socket.AF_INET6)]
silent = [connected(socket.AF_INET, SILENT) for _ in range(400)]
for s in silent:
    s.send(QUERY)
for s in asking:
    # A query that is dropped among many others may tell nothing: resolvers ask again.
    for _ in range(10):
        try:
            s.send(QUERY)
            s.recv(512)
        except TimeoutError:
            continue
        except ConnectionAbortedError:
            print("told")
            break
    again = connected(s.family, SERVER)
    again.settimeout(5)
    again.send(QUERY)
    print(len(again.recv(512)) > len(QUERY))
