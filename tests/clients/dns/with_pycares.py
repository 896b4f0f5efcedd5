# GET over HTTP at an address that c-ares finds, with its search list: prints the response.
import http.client, select, socket, sys

import pycares

found = []
channel = pycares.Channel()
channel.gethostbyname(sys.argv[1], socket.AF_INET, lambda result, error: found.append((result, error)))
while True:
    readers, writers = channel.getsock()
    if not readers and not writers:
        break
    readable, writable, _ = select.select(readers, writers, [], channel.timeout())
    for fd in readable:
        channel.process_fd(fd, pycares.ARES_SOCKET_BAD)
    for fd in writable:
        channel.process_fd(pycares.ARES_SOCKET_BAD, fd)
    if not readable and not writable:
        channel.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
result, error = found[0]
assert not error, pycares.errno.strerror(error)
connection = http.client.HTTPConnection(result.addresses[0], timeout=20)
connection.request("GET", "/", headers={"Host": sys.argv[1]})
print(connection.getresponse().read().decode())
