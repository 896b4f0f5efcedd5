import sys

import requests

url, ca, size, upload = sys.argv[1:5]
session = requests.Session()
session.verify = ca
print(session.get(url + "/", timeout=200).text.strip())
large = session.get(url + "/files/large", stream=True, timeout=200)
print(sum(len(piece) for piece in large.iter_content(1 << 20)))
with open(upload, "rb") as body:
    print(session.put(url + "/files/uploaded", data=body, timeout=200).status_code)
stream = session.get(url + "/stream", stream=True, timeout=200).iter_lines(chunk_size=1)
first = next(stream).decode()
session.get(url + "/ack", timeout=200)
print(first, next(stream).decode())
