"""Processes that each make a network namespace of their own and connect as the first thing they do in it.

Arguments: the number of namespaces, how many at once, address, port. Prints how many got each outcome.
"""

import collections, ctypes, fcntl, os, socket, struct, sys

CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8914, 1
libc = ctypes.CDLL(None, use_errno=True)


def one(address, port):
    if libc.unshare(CLONE_NEWNET):
        return "unshare: " + os.strerror(ctypes.get_errno())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", IFF_UP, b""))
    try:
        with socket.socket() as s:
            s.settimeout(20)
            s.connect((address, port))
            if s.getpeername() != (address, port):
                return "peer: %s" % (s.getpeername(),)
            s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: s.recv(4096), b""))
            return answer.split(b" ")[1].decode() + " " + answer.rsplit(b"\r\n", 1)[1].decode().strip()
    except OSError as error:
        return type(error).__name__


def main(count, at_once, address, port):
    outcomes, running = collections.Counter(), {}
    for number in range(count + 1):
        while running and (len(running) >= at_once or number == count):
            pid, _ = os.wait()
            reader = running.pop(pid)
            outcomes[os.fdopen(reader).read()] += 1
        if number == count:
            break
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            os.write(writer, one(address, port).encode())
            os._exit(0)
        os.close(writer)
        running[pid] = reader
    print(dict(outcomes))


main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
