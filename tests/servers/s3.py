"""A minimal S3: one bucket of files in memory, for whoever reads objects, parts of them, and lists."""

import hashlib
import xml.etree.ElementTree as ET
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.servers.threaded import served

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass
class S3:
    """What the server has, what it was asked, and what goes wrong.

    `faults` are used up one for each request that fetches an object (not its head): `"broken"` closes the
    connection in the middle of the body, `"503"` is an error that passes, `"truncated"` a body that is whole
    as HTTP and cut as a file. `"ok"` lets one request through.
    """

    bucket: str
    files: dict[str, bytes]
    access_key: str = ""
    faults: deque[str] = field(default_factory=deque)
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        if self.access_key and f"Credential={self.access_key}/" not in request.headers.get(
            "Authorization", ""
        ):
            return _error(403, "AccessDenied", "Access Denied")
        bucket, _, key = request.path.removeprefix("/").partition("/")
        if bucket != self.bucket:
            return _error(404, "NoSuchBucket", "The specified bucket does not exist")
        if not key:
            return self._listing(request.query.get("prefix", ""), request.query.get("delimiter", ""))
        if key not in self.files:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        content = self.files[key]
        fault = self.faults.popleft() if self.faults and request.method == "GET" else "ok"
        if fault == "503":
            return _error(503, "SlowDown", "Please reduce your request rate.")
        if fault == "truncated":
            content = content[: len(content) // 2] + bytes(len(content) - len(content) // 2)
        headers = {
            "ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"',
            "Last-Modified": "Wed, 03 Jan 2024 16:00:00 GMT",
            "Accept-Ranges": "bytes",
            "Content-Type": "application/gzip",
        }
        status, body = 200, content
        if told := request.headers.get("Range"):
            start, _, stop = told.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(stop or len(content)), len(content) - 1)
            status, body = 206, content[first : last + 1]
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        if request.method == "HEAD":
            return web.Response(status=status, headers=headers | {"Content-Length": str(len(body))})
        if fault == "broken":
            response = web.StreamResponse(status=status, headers=headers | {"Content-Length": str(len(body))})
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            request.transport.abort()
            return response
        return web.Response(status=status, headers=headers, body=body)

    def _listing(self, prefix: str, delimiter: str) -> web.Response:
        root = ET.Element("ListBucketResult", xmlns=_NAMESPACE)
        ET.SubElement(root, "Name").text = self.bucket
        ET.SubElement(root, "Prefix").text = prefix
        folders = set()
        count = 0
        for key, content in sorted(self.files.items()):
            if not key.startswith(prefix):
                continue
            rest = key.removeprefix(prefix)
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter)[0] + delimiter)
                continue
            count += 1
            entry = ET.SubElement(root, "Contents")
            ET.SubElement(entry, "Key").text = key
            ET.SubElement(entry, "Size").text = str(len(content))
            ET.SubElement(entry, "LastModified").text = "2024-01-03T16:00:00.000Z"
        for folder in sorted(folders):
            ET.SubElement(ET.SubElement(root, "CommonPrefixes"), "Prefix").text = folder
        ET.SubElement(root, "KeyCount").text = str(count + len(folders))
        ET.SubElement(root, "MaxKeys").text = "1000"
        ET.SubElement(root, "IsTruncated").text = "false"
        return web.Response(body=ET.tostring(root), content_type="application/xml")


@contextmanager
def s3(
    files: Mapping[str, bytes],
    *,
    bucket: str = "flatfiles",
    access_key: str = "",
    faults: Iterable[str] = (),
) -> Iterator[S3]:
    """A running server with these objects; with an `access_key` it refuses every other."""
    server = S3(bucket, dict(files), access_key, deque(faults))
    with served(server.answer) as server.url:
        yield server


def _error(status: int, code: str, message: str) -> web.Response:
    root = ET.Element("Error")
    ET.SubElement(root, "Code").text = code
    ET.SubElement(root, "Message").text = message
    return web.Response(status=status, body=ET.tostring(root), content_type="application/xml")
