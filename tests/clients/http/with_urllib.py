import ssl
import sys
from urllib.request import Request, urlopen

url, ca, size, upload = sys.argv[1:5]
context = ssl.create_default_context(cafile=ca)


def call(path, **more):
    return urlopen(Request(url + path, **more), timeout=200, context=context)


print(call("/").read().decode().strip())
large, got = call("/files/large"), 0
while piece := large.read(1 << 20):
    got += len(piece)
print(got)
with open(upload, "rb") as body:
    print(call("/files/uploaded", method="PUT", data=body, headers={"Content-Length": size}).status)
stream = call("/stream")
first = stream.readline().decode().strip()
call("/ack").read()
print(first, stream.readline().decode().strip())
