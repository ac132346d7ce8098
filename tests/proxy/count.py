"""The same for gunicorn."""


def app(environ, start):
    length = len(environ["wsgi.input"].read())
    print("saw", environ["REQUEST_METHOD"], environ["RAW_URI"], length, flush=True)
    start("200 OK", [("Content-Length", "4")])
    return [b"seen"]
