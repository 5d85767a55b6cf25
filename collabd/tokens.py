"""Signed tokens (JWT, RFC 7519): reading them, and making one for trying out.

Law of this file: the only one that knows PyJWT. Exactly the one configured algorithm is accepted, whatever a token's
head says (RFC 8725, section 3.1), and every failure is the same answer. Times of tokens are seconds since 1970.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, NoReturn

import jwt
import msgspec
from msgspec import Meta

from collabd.auth import Identity, Revocation, unauthorized
from collabd.errors import ConfigError, ProtocolError
from collabd.protocol.names import parse_run_id, parse_user_id

if TYPE_CHECKING:
    from jwt.types import Options

    from collabd.config import Auth

Role = Literal["viewer", "editor", "admin"]

MAX_TOKEN_LENGTH: Final = 8192
MAX_KEYS: Final = 100
MAX_KEY_FILE_BYTES: Final = 1 << 20
_CACHED: Final = 4096
"""Tokens whose signature was checked already; a poll every two seconds need not pay for it again."""

_FAR: Final = 1e12
_Time = Annotated[float, Meta(ge=0, le=_FAR)]
# Claims that change with time are checked here, by a clock that is given; PyJWT knows only the system's.
_OPTIONS: Final[Options] = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}


class Key(NamedTuple):
    """One key that may have signed a token; `name` is the `kid` it goes by, None for one that goes for all."""

    name: str | None
    key: Any


class _Claims(msgspec.Struct):
    sub: str
    exp: _Time
    runs: str | list[str] = []
    role: Role = "viewer"
    jti: str | None = None
    iat: _Time | None = None
    nbf: _Time | None = None


class TokenDoor:
    """Token mode: lets in whom a good token names. `now_ms` gives milliseconds since 1970."""

    def __init__(self, auth: Auth, keys: Iterable[Key], *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.replace_keys(auth, keys)
        self._revoked_users: dict[str, int] = {}
        self._revoked_tokens: set[str] = set()

    def replace_keys(self, auth: Auth, keys: Iterable[Key]) -> None:
        """Check tokens by other keys and claims from now on; identities that were given out stay good."""
        self._auth = auth
        self._keys = list(keys)
        self._leeway_ms = round(auth.leeway_s * 1000)
        self._known: dict[bytes, Identity] = {}

    def authenticate(self, token: str | None) -> Identity:
        """Who the token names. Raises ProtocolError (unauthorized)."""
        if token is None or len(token) > MAX_TOKEN_LENGTH:
            raise unauthorized()
        digest = sha256(token.encode("utf-8", "replace")).digest()
        identity = self._known.get(digest)
        if identity is None:
            identity = self._read(token)
            if len(self._known) >= _CACHED:
                del self._known[next(iter(self._known))]
            self._known[digest] = identity
        self.recheck(identity)
        return identity

    def recheck(self, identity: Identity) -> None:
        """Raises ProtocolError (unauthorized) for an identity that has expired or was revoked."""
        expired = identity.expires_at is None or identity.expires_at <= self._now_ms()
        if expired or identity.token_id in self._revoked_tokens or self._is_revoked_user(identity):
            raise unauthorized()

    def _is_revoked_user(self, identity: Identity) -> bool:
        revoked_at = self._revoked_users.get(identity.user_id or "")
        if revoked_at is None:
            return False
        # The issuer's clock may be ahead, and iat is in whole seconds: when in doubt the token is an old one.
        return identity.issued_at is None or identity.issued_at <= revoked_at + self._leeway_ms

    def revoke(self, revocation: Revocation) -> None:
        """Refuse these tokens from now on."""
        if revocation.kind == "jti":
            self._revoked_tokens.add(revocation.name)
        else:
            earlier = self._revoked_users.get(revocation.name, 0)
            self._revoked_users[revocation.name] = max(earlier, revocation.at)

    def _read(self, token: str) -> Identity:
        """Check the signature and the claims that do not change with time."""
        try:
            claims = msgspec.convert(self._verified(token), _Claims)
            for not_before in (claims.iat, claims.nbf):
                if not_before is not None and int(not_before * 1000) > self._now_ms() + self._leeway_ms:
                    raise unauthorized()
            return _identity(claims)
        except (jwt.PyJWTError, msgspec.ValidationError, ProtocolError, ValueError, RecursionError):
            # No cause is kept: what the log or a debugger shows of this must not be a token.
            raise unauthorized() from None

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims of a token that one of our keys has signed. Raises jwt.PyJWTError."""
        wanted = jwt.get_unverified_header(token).get("kid")
        keys = [key for key in self._keys if key.name is None or wanted is None or key.name == wanted]
        for key in keys:
            try:
                return jwt.decode(
                    token,
                    key.key,
                    algorithms=[self._auth.algorithm],
                    audience=self._auth.audience or None,
                    issuer=self._auth.issuer or None,
                    options=_OPTIONS,
                )
            except jwt.InvalidSignatureError:
                continue
        raise unauthorized()


def _identity(claims: _Claims) -> Identity:
    runs = [claims.runs] if isinstance(claims.runs, str) else claims.runs
    return Identity(
        user_id=parse_user_id(claims.sub),
        role=claims.role,
        runs=frozenset(run if run == "*" else parse_run_id(run) for run in runs),
        expires_at=int(claims.exp * 1000),
        issued_at=None if claims.iat is None else int(claims.iat * 1000),
        token_id=claims.jti,
    )


# Keys


def load_keys(auth: Auth, environ: Mapping[str, str]) -> list[Key]:
    """The keys that check tokens, from the one place that is configured.

    Raises ConfigError for keys that are unreadable, too weak (RFC 7518, 3.2 and 3.3), private or of another algorithm.
    No message repeats anything of what was read.
    """
    if auth.jwks_file is not None:
        return _keys_of_set(auth, _read_file("jwks_file", auth.jwks_file))
    if auth.key_env:
        text = environ.get(auth.key_env, "")
        if not text:
            _refuse("key_env", f"the environment variable {auth.key_env} is not set")
        return [Key(None, _prepared("key_env", auth.algorithm, text))]
    assert auth.key_file is not None, "the configuration was checked"
    return [Key(None, _prepared("key_file", auth.algorithm, _read_file("key_file", auth.key_file)))]


def _prepared(setting: str, algorithm: str, text: str) -> Any:
    """The key in a form that need not be parsed for each token. A line end at its end is none of it."""
    text = text.strip()
    if algorithm != "HS256" and "PRIVATE KEY" in text:
        _refuse(setting, "is a private key, which only the issuer of tokens should have; give the public key")
    try:
        key = jwt.get_algorithm_by_name(algorithm).prepare_key(text.encode())
    except Exception:  # cryptography has many words for it, some of which would show the key
        _refuse(setting, f"holds no key for {algorithm}")
    return _strong(setting, algorithm, key)


def _keys_of_set(auth: Auth, text: str) -> list[Key]:
    try:
        members = json.loads(text)["keys"]
        keys = [each for each in members if isinstance(each, dict) and _is_for(auth.algorithm, each)]
    except (ValueError, TypeError, KeyError, RecursionError):
        _refuse("jwks_file", 'is no JWK set: {"keys": […]} (RFC 7517)')
    if not keys or len(keys) > MAX_KEYS:
        _refuse("jwks_file", f"must hold 1 to {MAX_KEYS} keys for {auth.algorithm}, not {len(keys)}")
    return [_key_of_set(auth.algorithm, each) for each in keys]


def _is_for(algorithm: str, member: dict[str, Any]) -> bool:
    """Whether a member of a set may check signatures of this algorithm; sets often hold keys for other purposes."""
    kind = {"HS256": "oct", "RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}[algorithm]
    return (
        member.get("kty") == kind
        and member.get("alg", algorithm) == algorithm
        and member.get("use", "sig") == "sig"
        and not (kind == "EC" and member.get("crv") != "P-256")
    )


def _key_of_set(algorithm: str, member: dict[str, Any]) -> Key:
    name = member.get("kid")
    shown = f"the key {name!r}" if isinstance(name, str) else "a key without kid"
    if algorithm != "HS256" and "d" in member:
        _refuse("jwks_file", f"{shown} is private, which only the issuer of tokens should have; give the public part")
    try:
        key = jwt.PyJWK(member, algorithm).key
    except Exception:  # as above
        _refuse("jwks_file", f"{shown} is no key for {algorithm}")
    return Key(name if isinstance(name, str) else None, _strong("jwks_file", algorithm, key))


def _strong(setting: str, algorithm: str, key: Any) -> Any:
    weakness = jwt.get_algorithm_by_name(algorithm).check_key_length(key)
    if weakness:
        least = "32 bytes: openssl rand -base64 48" if algorithm == "HS256" else "2048 bits"
        _refuse(setting, f"is too short a key for {algorithm}; use one of at least {least}")
    return key


def _read_file(setting: str, path: os.PathLike[str]) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(MAX_KEY_FILE_BYTES)
    except UnicodeDecodeError:
        _refuse(setting, f"{os.fspath(path)} is no text")
    except OSError as error:
        _refuse(setting, f"{os.fspath(path)} cannot be read: {error.strerror}")


def _refuse(setting: str, problem: str) -> NoReturn:
    raise ConfigError([f"[auth] {setting}: {problem}"]) from None


# Making one


def mint(auth: Auth, key: str, *, user_id: str, runs: list[str], role: Role, lifetime_s: float) -> str:
    """A token signed with `key`: the secret (HS256) or a private key in PEM. Raises ConfigError for another key."""
    now = time.time()
    claims: dict[str, Any] = {
        "sub": user_id,
        "runs": "*" if "*" in runs else runs,
        "role": role,
        "iat": int(now),
        "exp": int(now + lifetime_s),
        "jti": secrets.token_urlsafe(16),
    }
    if auth.audience:
        claims["aud"] = auth.audience
    if auth.issuer:
        claims["iss"] = auth.issuer
    try:
        signing = jwt.get_algorithm_by_name(auth.algorithm).prepare_key(key.strip().encode())
        return jwt.encode(claims, _strong("key", auth.algorithm, signing), algorithm=auth.algorithm)
    except ConfigError:
        raise
    except Exception:  # as above
        raise ConfigError(
            [f"the key does not sign {auth.algorithm}; give the private key (PEM), or the secret"]
        ) from None
