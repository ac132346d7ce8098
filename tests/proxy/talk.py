"""WebSocket through the proxy with an implementation that knows nothing of it, at both ends."""
import asyncio, os, ssl, sys
import websockets

HOST, CA, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])


async def echo(socket):
    async for message in socket:
        if message == "close please":
            await socket.close(4321, "as you wish")
        elif message == "many please":
            for number in range(2000):
                await socket.send(str(number))
        else:
            await socket.send(message)


def client(**more):
    context = ssl.create_default_context(cafile=CA)
    return websockets.connect(
        "wss://localhost/ws", host=HOST, port=443, ssl=context, server_hostname="localhost", max_size=None, **more)


async def both(message):
    async with client() as socket:
        await socket.send(message)
        assert await asyncio.wait_for(socket.recv(), 60) == message, "it came back as something else"


async def sizes():
    for size in [0, 1, 125, 126, 127, 65535, 65536, 65537, 1 << 20, 20 << 20]:
        await both(os.urandom(size))
        await both("ü" * (size // 2))


async def fragments():
    async with client(compression=None) as socket:
        pieces = [os.urandom(size) for size in [0, 1, 70_000, 0, 125, 300_000]]
        await socket.send(iter(pieces))
        assert await socket.recv() == b"".join(pieces)
        await socket.send(iter(["a", "", "ü" * 40_000, "z"]))
        assert await socket.recv() == "a" + "ü" * 40_000 + "z"


async def pings():
    async with client() as socket:
        for size in [0, 1, 125]:
            waiter = await socket.ping(os.urandom(size))
            await asyncio.wait_for(waiter, 20)


async def closes():
    async with client() as socket:
        await socket.send("close please")
        try:
            await socket.recv()
            raise AssertionError("it was not closed")
        except websockets.ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4321, "as you wish"), closed
    socket = await client()
    await socket.close(3999, "bye")
    assert socket.close_code == 3999, socket.close_code


async def floods():
    async with client() as socket:
        await socket.send("many please")
        for number in range(2000):
            assert await socket.recv() == str(number)


async def crowd():
    await asyncio.gather(*[both(os.urandom(10_000)) for _ in range(50)])


async def quiet():
    async with client(ping_interval=None) as socket:
        await asyncio.sleep(3)
        await socket.send("still there")
        assert await socket.recv() == "still there"


async def main():
    async with websockets.serve(echo, "0.0.0.0", PORT, max_size=None):
        for case in [sizes, fragments, pings, closes, floods, crowd, quiet]:
            await asyncio.wait_for(case(), 120)
            print("well:", case.__name__, flush=True)


asyncio.run(main())
