"""Upstreams of changing moods: FOLDER PORT... What FOLDER/mood-PORT holds is how the one on that port does. Requests for
/health and for anything else are answered alike, by `well` with the port. Prints how many connections each has."""
import asyncio, pathlib, sys

FOLDER, PORTS = pathlib.Path(sys.argv[1]), [int(port) for port in sys.argv[2:]]


def mood(port):
    file = FOLDER / f"mood-{port}"
    return file.read_text().strip() if file.exists() else "well"


async def answer(path, now, port, writer):
    ok = "HTTP/1.1 200 OK\r\n"
    if path == "/hold":
        await asyncio.sleep(3600)
    if now == "sick":
        said = "HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\nsick"
    elif now == "lies":
        said = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"
    elif now == "hangs":
        return await asyncio.sleep(3600)
    elif now == "leaves":
        return False
    else:
        said = f"{ok}Content-Length: {len(str(port))}\r\n\r\n{port}"
    writer.write(said.encode())
    await writer.drain()
    return True


class Door:
    def __init__(self, port):
        self.port, self.open = port, 0

    def say(self, count):
        self.open += count
        print("open", self.port, self.open, flush=True)

    async def serve(self, reader, writer):
        self.say(1)
        try:
            if mood(self.port) != "shut":
                while head := await reader.readuntil(b"\r\n\r\n"):
                    path = head.split(b" ")[1].decode()
                    print("asked", self.port, path, flush=True)
                    left = asyncio.ensure_future(reader.read(1)) if path == "/hold" or mood(self.port) == "hangs" else None
                    told = asyncio.ensure_future(answer(path, mood(self.port), self.port, writer))
                    await asyncio.wait([one for one in (told, left) if one], return_when=asyncio.FIRST_COMPLETED)
                    if left or not told.result():
                        told.cancel()
                        break
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()
        self.say(-1)


async def main():
    for port in PORTS:
        await asyncio.start_server(Door(port).serve, "0.0.0.0", port)
    print("listening", flush=True)
    await asyncio.Event().wait()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
