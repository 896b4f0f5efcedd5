# argv[5]: the version of HTTP.
import sys

import httpx

url, ca, size, upload, version = sys.argv[1:6]
client = httpx.Client(verify=ca, timeout=200, http1=version == "1.1", http2=version == "2")


def body():
    with open(upload, "rb") as file:
        while piece := file.read(1 << 16):
            yield piece


print(client.get(url + "/").text.strip())
with client.stream("GET", url + "/files/large") as large:
    print(sum(len(piece) for piece in large.iter_raw()))
print(client.put(url + "/files/uploaded", content=body(), headers={"Content-Length": size}).status_code)
with client.stream("GET", url + "/stream") as stream:
    lines = stream.iter_lines()
    first = next(lines)
    client.get(url + "/ack")
    print(first.strip(), next(lines).strip())
