"""Sixteen clients that call a third party which is well, and one which fails, over new and kept connections, until a line comes. Prints
how many calls to the well one failed, three of the failures, and how many there were."""

import http.client
import sys
import threading

end, failed, count = threading.Event(), [], [0] * 16


def ask(connection, host, path, body=None):
    connection.request("POST" if body else "GET", path, body=body, headers={"Host": host})
    response = connection.getresponse()
    response.read()
    return response.status


def run(number):
    kept = None
    while not end.is_set():
        try:
            connection = kept or http.client.HTTPConnection("203.0.113.7", 80, timeout=20)
            status = ask(connection, "api.partner.example", "/%d" % count[number], b"x" * (number * 1000) or None)
            if status != 200:
                failed.append(status)
            # Even ones keep their connections for a while.
            kept = connection if number % 2 == 0 and count[number] % 50 else None
            if kept is None:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            # Nobody can take over a connection that is kept: its process ends it in order, or as a request is on its way.
            if kept is None:
                failed.append(repr(error))
            kept = None
        count[number] += 1
        if number % 4 == 3:
            try:
                failing = http.client.HTTPConnection("203.0.113.8", 80, timeout=20)
                ask(failing, "api.failing.example", "/")
            except (OSError, http.client.HTTPException):
                pass
            finally:
                failing.close()


threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
for thread in threads:
    thread.start()
print("begun", flush=True)
sys.stdin.readline()
end.set()
for thread in threads:
    thread.join()
print(len(failed), failed[:3], sum(count), flush=True)
