"""Asks the verifier about the token of each request. Standard library only.

Replace the two addresses; in the cluster the verifier is apitoken-operator-verifier.apitoken-system:8090.
"""

import hashlib
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

LISTEN = "127.0.0.1:8000"
VERIFIER = "http://127.0.0.1:8090/introspect"
IDENTITY = "/var/run/secrets/apitoken.dev/token"  # the projected volume of introspection.yaml
ISSUER, AUDIENCE, SCOPE = "ClusterTokenIssuer/builtin", "shop", "orders:read"
CACHE_SECONDS = 5  # so long a revoked token still works here
CACHE_ENTRIES = 10_000

cache = {}  # by hash: values stay in memory no longer than their request
direct = build_opener(ProxyHandler({}))  # HTTP_PROXY must not see tokens


def introspect(token):
    """What the verifier says about a token. Raises OSError or ValueError where it gives no answer."""
    key = hashlib.sha256(token.encode()).digest()
    until, answer = cache.get(key, (0, None))
    if time.monotonic() < until:
        return answer
    with open(IDENTITY) as file:  # each time: the kubelet renews it
        identity = file.read().strip()
    form = urlencode({"token": token, "issuer": ISSUER}).encode()
    with direct.open(Request(VERIFIER, form, {"Authorization": f"Bearer {identity}"}), timeout=2) as response:
        answer = json.load(response)
    if len(cache) >= CACHE_ENTRIES:
        cache.clear()
    cache[key] = (time.monotonic() + CACHE_SECONDS, answer)
    return answer


def authorize(header):
    """The status for a request with that Authorization header, and whose token it is."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        return 401, None
    try:
        answer = introspect(token.strip())
    except (OSError, ValueError):
        return 503, None  # no answer, no entry
    audiences = answer.get("aud", [])
    # The verifier says what the token is for. Whether that is enough is for the application to say.
    if not answer.get("active") or AUDIENCE not in ([audiences] if isinstance(audiences, str) else audiences):
        return 401, None
    if SCOPE not in answer.get("scope", "").split():
        return 403, None
    return 200, answer["sub"]


class Application(BaseHTTPRequestHandler):
    def do_GET(self):
        status, subject = authorize(self.headers.get("Authorization", ""))
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        if status == 403:
            self.send_header("WWW-Authenticate", f'Bearer error="insufficient_scope", scope="{SCOPE}"')
        self.end_headers()
        if subject:
            self.wfile.write(f"Hello {subject}\n".encode())


host, port = LISTEN.split(":")
ThreadingHTTPServer((host, int(port)), Application).serve_forever()
