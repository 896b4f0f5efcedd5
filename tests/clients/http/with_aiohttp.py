import asyncio
import ssl
import sys

import aiohttp

url, ca, size, upload = sys.argv[1:5]


async def main():
    context = ssl.create_default_context(cafile=ca)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.get(url + "/") as answer:
            print((await answer.text()).strip())
        async with session.get(url + "/files/large") as large:
            got = 0
            async for piece in large.content.iter_chunked(1 << 20):
                got += len(piece)
            print(got)
        with open(upload, "rb") as body:
            async with session.put(url + "/files/uploaded", data=body) as answer:
                print(answer.status)
        async with session.get(url + "/stream") as stream:
            first = (await stream.content.readline()).decode().strip()
            async with session.get(url + "/ack"):
                pass
            print(first, (await stream.content.readline()).decode().strip())


asyncio.run(main())
