"""Messages between a chief and its workers, each signed with the secret that both know.

KerasTuner's service has no authentication. Here each message of it carries an HMAC-SHA256 (RFC
2104) over who sends it, its number, the call and its bytes; a reply is signed with the message that
it answers. What has another signature, or came before, is refused before it is parsed. Nothing is
encrypted: who listens sees settings and scores.

A chief draws a session when it starts and tells it to whoever does not know it, so that messages to
an earlier chief are worth nothing to this one. A worker numbers its messages.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Any

SERVICE = "/keras_tuner.Oracle/"
METHODS = (
    *("GetSpace", "UpdateSpace", "CreateTrial", "UpdateTrial", "EndTrial"),
    *("GetBestTrials", "GetTrial"),
)
SECRET = "CIFAR_LAB_SECRET"  # the environment variable
LEAST_SECRET, MOST_SECRET = 16, 4096  # characters, bytes
MOST_CLIENTS = 4096  # that a chief keeps the numbers of


class Refused(Exception):
    """A message that must not be obeyed. code: the name of a grpc.StatusCode."""

    def __init__(self, why: str, code: str = "INVALID_ARGUMENT"):
        super().__init__(why)
        self.code = code


def _mac(secret: bytes, *parts: bytes) -> str:
    """Of parts none of which but the last holds a zero byte."""
    return hmac.new(secret, b"\0".join(parts), hashlib.sha256).hexdigest()


def _request_mac(secret, session, client, number, method, body) -> str:
    words = (session, client, number, method)
    return _mac(secret, b"request", *(word.encode() for word in words), body)


def _reply_mac(secret, request, body) -> str:
    return _mac(secret, b"reply", request.encode(), body)


class Inspector:
    """A chief's: what it checks of a message before it is parsed.

    secret: b"" where none is wanted: then it only tells workers apart.
    """

    def __init__(self, secret: bytes):
        self.secret, self.session = secret, secrets.token_hex(16)
        self._numbers: dict[str, int] = {}

    def check(self, method: str, metadata: Mapping[str, Any], body: bytes) -> str:
        """The name of the client. Raises Refused."""
        words = [metadata.get(name) for name in ("session", "client", "number", "mac")]
        if not all(isinstance(word, str) and len(word) <= 100 for word in words):
            raise Refused("is not signed", "UNAUTHENTICATED")
        session, client, number, mac = map(str, words)
        if session != self.session:
            raise Refused("session", "UNAUTHENTICATED")
        expected = _request_mac(self.secret, session, client, number, method, body)
        if not hmac.compare_digest(mac.encode(), expected.encode()):
            raise Refused("is signed with another secret", "UNAUTHENTICATED")
        if not number.isdecimal() or int(number) <= self._numbers.get(client, -1):
            raise Refused("came before", "UNAUTHENTICATED")
        if client not in self._numbers and len(self._numbers) >= MOST_CLIENTS:
            raise Refused("comes from one worker too many", "RESOURCE_EXHAUSTED")
        self._numbers[client] = int(number)
        return client

    def seal(self, metadata: Mapping[str, Any], body: bytes) -> list[tuple[str, str]]:
        """The metadata of the reply to a message that was checked."""
        return [("mac", _reply_mac(self.secret, metadata["mac"], body))]


def handler(
    answer: Callable[[str, bytes, str], bytes],
    inspector: Inspector,
    refused: Callable[[str], Any],
) -> Any:
    """A grpc.GenericRpcHandler of the service.

    answer: (method, request's bytes, client) -> reply's bytes; may raise Refused.
    refused: called with a line about each message that was not obeyed.
    """
    import grpc

    def behaviour(method):
        def obey(body, context):
            metadata = dict(context.invocation_metadata())
            try:
                client = inspector.check(method, metadata, body)
                reply = answer(method, body, client)
            except Refused as error:
                if str(error) == "session":
                    context.set_trailing_metadata([("session", inspector.session)])
                else:
                    refused(f"a worker's {method} {error}")
                context.abort(grpc.StatusCode[error.code], f"{method} {error}")
            context.set_trailing_metadata(inspector.seal(metadata, reply))
            return reply

        return grpc.unary_unary_rpc_method_handler(obey)

    made = {f"{SERVICE}{method}": behaviour(method) for method in METHODS}

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            return made.get(details.method)

    return Handler()


class Stub:
    """A worker's: KerasTuner's OracleStub, its messages signed and its replies checked.

    Raises ConnectionError where a reply is not the chief's.
    """

    def __init__(self, host: str, port: int, secret: bytes):
        import grpc
        from keras_tuner.src import protos

        self._grpc, self._secret = grpc, secret
        self._session, self._client, self._number = "", secrets.token_hex(16), 0
        # a proxy of the environment is for other addresses
        self._channel = grpc.insecure_channel(
            f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]
        )
        service = protos.get_service()
        for method in METHODS:
            reply = getattr(service, f"{method}Response")
            setattr(self, method, self._call(method, reply.FromString))

    def _call(self, method: str, parse: Callable[[bytes], Any]) -> Callable[..., Any]:
        send = self._channel.unary_unary(f"{SERVICE}{method}")

        def call(request: Any, **options: Any) -> Any:
            body = request.SerializeToString()
            try:
                return self._once(send, method, body, parse, options)
            except self._grpc.RpcError as error:
                session = dict(error.trailing_metadata() or ()).get("session")
                if session in (None, self._session):
                    raise
            self._session = str(session)
            return self._once(send, method, body, parse, options)

        return call

    def _once(self, send, method, body, parse, options):
        number, self._number = str(self._number), self._number + 1
        mac = _request_mac(self._secret, self._session, self._client, number, method, body)
        metadata = {
            "session": self._session,
            "client": self._client,
            "number": number,
            "mac": mac,
        }
        reply, call = send.with_call(body, metadata=list(metadata.items()), **options)
        told = dict(call.trailing_metadata() or ()).get("mac", "")
        if not hmac.compare_digest(str(told), _reply_mac(self._secret, mac, reply)):
            raise ConnectionError("its reply is not signed with this secret")
        return parse(reply)
