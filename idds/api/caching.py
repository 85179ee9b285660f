"""Answers that a client may keep, and ask whether they still hold (RFC 9110, 13.1.2)."""

import hashlib

import msgspec
from aiohttp import web

from idds.api.route import Reply

COMPRESSED_FROM, IN_A_THREAD_FROM = 4096, 64 * 1024
"""Smaller answers are sent as they are; larger ones are packed in a thread."""
# Kept by the caller alone, and asked for again each time.
_KEPT = {"Cache-Control": "private, no-cache", "Vary": "Accept, Accept-Encoding, Authorization"}


def answer_with(reply: Reply, request: web.Request) -> web.Response:
    """A reply as JSON; 304 to a GET of what the client has already.

    The tag is weak: it is of the document, however its bytes are packed.
    """
    body = msgspec.json.encode(reply.document)
    headers = dict(reply.headers)
    if request.method in ("GET", "HEAD") and reply.status == 200:
        tag = hashlib.blake2b(body, digest_size=16).hexdigest()
        headers |= {**_KEPT, "ETag": f'W/"{tag}"'}
        if any(known.value in (tag, "*") for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
    response = web.Response(
        body=body,
        status=reply.status,
        headers=headers,
        content_type="application/json",
        zlib_executor_size=IN_A_THREAD_FROM,
    )
    if len(body) >= COMPRESSED_FROM:
        response.enable_compression()
    return response
