"""Keys and tokens for tests. Law of this file: no test stands here; every secret in it is worthless."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any, Final, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

RUN: Final = "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d"
OTHER_RUN: Final = "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3e"
SECRET: Final = "a secret of tests that is worth nothing at all"
NOW_S: Final = 1_800_000_000
ALGORITHMS: Final = ("HS256", "RS256", "ES256", "EdDSA")


class KeyPair(NamedTuple):
    """What signs and what checks, as text in PEM; for HS256 both are the secret."""

    private: str
    public: str


@cache
def key_pair(algorithm: str, number: int = 0, *, bits: int = 2048, curve: Any = ec.SECP256R1) -> KeyPair:
    """A pair of keys for an algorithm; another `number` is another pair."""
    if algorithm == "HS256":
        secret = SECRET + str(number)
        return KeyPair(secret, secret)
    key: Any
    if algorithm == "RS256":
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    elif algorithm == "ES256":
        key = ec.generate_private_key(curve())
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(private.decode(), public.decode())


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token; None takes one out."""
    usual = {"sub": "ann", "exp": NOW_S + 600, "iat": NOW_S, "runs": [RUN], "role": "editor", "jti": "token-1"}
    return {name: value for name, value in (usual | changed).items() if value is not None}


def sign(
    payload: dict[str, Any], *, algorithm: str = "HS256", key: str | None = None, head: dict[str, Any] | None = None
) -> str:
    """A token as an issuer makes it."""
    return jwt.encode(payload, key or key_pair(algorithm).private, algorithm=algorithm, headers=head)


def unsigned(payload: dict[str, Any], head: dict[str, Any]) -> str:
    """A token whose signature is empty."""
    return f"{encoded(head)}.{encoded(payload)}."


def encoded(value: Any) -> str:
    """One part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def jwk_of(algorithm: str, pair: KeyPair, **members: Any) -> dict[str, Any]:
    """A key as a member of a JWK set (RFC 7517)."""
    worker: Any = jwt.get_algorithm_by_name(algorithm)
    jwk: dict[str, Any] = worker.to_jwk(worker.prepare_key(pair.public), as_dict=True)
    return jwk | members
