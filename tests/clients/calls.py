"""Clients that call api.partner.example without pause, each in a thread: every other one over one connection that it keeps.

`COUNT` is their number. Says "served" once each has been served. For each line that it hears, a new part of the test begins: it says what
went wrong with calls that began before, once each client has been served again. Told to end, it says what went wrong since, and how
many connections the clients have made that keep theirs.
"""

import collections, http.client, json, sys, threading, time

part, stop = 0, threading.Event()
wrong, served, kept = collections.Counter(), [-1] * COUNT, [0] * COUNT


def call(connection):
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    return response.status


def client(number):
    keeps, connection = number % 2 == 0, None
    while not stop.is_set():
        began = part
        try:
            if connection is None:
                connection = http.client.HTTPConnection("api.partner.example", timeout=20)
                connection.connect()
                kept[number] += keeps
            outcome = call(connection)
        except (OSError, http.client.HTTPException) as error:
            outcome = type(error).__name__
        if outcome == 200:
            served[number] = began
        else:
            wrong[outcome] += 1
            time.sleep(0.01)
        if outcome != 200 or not keeps:
            connection.close()
            connection = None


def said(*more):
    global wrong
    before, wrong = wrong, collections.Counter()
    print(json.dumps(before), *more, flush=True)


def all_served():
    end = time.monotonic() + 60
    while min(served) < part:
        if time.monotonic() > end:
            sys.exit("not served: %s %s" % (served, wrong))
        time.sleep(0.01)


threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(COUNT)]
[thread.start() for thread in threads]
all_served()
print("served", flush=True)
while sys.stdin.readline().strip() != "end":
    part += 1
    all_served()
    said()
stop.set()
[thread.join() for thread in threads]
said(sum(kept))
