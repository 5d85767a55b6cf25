"""What a token must be to let anybody in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from collabd import tokens
from collabd.auth import Identity, Revocation
from collabd.config import Auth
from collabd.errors import ConfigError, ProtocolError
from collabd.tokens import TokenDoor, load_keys, mint
from tests.security.signing import (
    ALGORITHMS,
    NOW_S,
    OTHER_RUN,
    RUN,
    KeyPair,
    claims,
    encoded,
    jwk_of,
    key_pair,
    sign,
    unsigned,
)

each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
NEVER_SHOWN = ("worth nothing", "MII", "BEGIN")


class Clock:
    """Milliseconds since 1970, set by hand."""

    def __init__(self) -> None:
        self.now_ms = NOW_S * 1000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    """The time, set by hand."""
    return Clock()


def door_of(clock: Clock, keys: list[tokens.Key] | None = None, **settings: Any) -> TokenDoor:
    """Token mode with HS256 and the usual secret, or as told."""
    auth = msgspec.structs.replace(Auth(mode="jwt"), **settings)
    environ = {"KEY": key_pair(auth.algorithm).public}
    return TokenDoor(auth, keys or load_keys(msgspec.structs.replace(auth, key_env="KEY"), environ), now_ms=clock)


def refused(door: TokenDoor, token: str | None) -> bool:
    """Whether the door says no; it may do so in one way only."""
    answer: ProtocolError | None = None
    try:
        door.authenticate(token)
    except ProtocolError as error:
        answer = error
    if answer is None:
        return False
    assert (answer.code, answer.message) == ("unauthorized", "this needs a valid token: Authorization: Bearer …")
    assert answer.__cause__ is None
    return True


@each_algorithm
def test_a_good_token_names_its_user_and_rights(clock: Clock, algorithm: str) -> None:
    """With each of the four algorithms."""
    identity = door_of(clock, algorithm=algorithm).authenticate(sign(claims(), algorithm=algorithm))
    expected = Identity("ann", "editor", frozenset({RUN}), (NOW_S + 600) * 1000, NOW_S * 1000, "token-1")
    assert identity == expected


@each_algorithm
def test_only_the_one_configured_algorithm_is_accepted(clock: Clock, algorithm: str) -> None:
    """Whatever the head says, and whatever key signed it (RFC 8725, section 3.1)."""
    door = door_of(clock, algorithm=algorithm)
    for other in ALGORITHMS:
        assert refused(door, sign(claims(), algorithm=other)) == (other != algorithm)


@pytest.mark.parametrize("name", ["none", "None", "NONE", "", "hs256", None, ["HS256"], {"a": 1}, 5, "RS512", "HS512"])
def test_a_token_cannot_choose_how_it_is_checked(clock: Clock, name: Any) -> None:
    """No signature is no signature, under any name."""
    assert refused(door_of(clock), unsigned(claims(), {"typ": "JWT", "alg": name}))


def test_a_public_key_is_no_secret(clock: Clock) -> None:
    """A token signed with the public key as if it were an HS256 secret is refused."""
    import hashlib
    import hmac

    from jwt.utils import base64url_encode

    public = key_pair("RS256").public
    part = f"{encoded({'typ': 'JWT', 'alg': 'HS256'})}.{encoded(claims())}"
    forged = hmac.new(public.encode(), part.encode(), hashlib.sha256).digest()
    assert refused(door_of(clock, algorithm="RS256"), f"{part}.{base64url_encode(forged).decode()}")


@each_algorithm
def test_one_changed_character_spoils_a_token(clock: Clock, algorithm: str) -> None:
    """In any part of it."""
    door, token = door_of(clock, algorithm=algorithm), sign(claims(), algorithm=algorithm)
    for place in range(0, len(token), 7):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert refused(door, changed)
    assert refused(door, sign(claims(), algorithm=algorithm, key=key_pair(algorithm, 1).private))


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": None}, {"exp": None}, {"sub": ""}, {"sub": "a\x00b"}, {"sub": "x" * 256}, {"sub": 5}, {"sub": ["ann"]},
        {"exp": NOW_S}, {"exp": NOW_S - 1}, {"exp": 0}, {"exp": -1}, {"exp": str(NOW_S + 5)}, {"exp": True},
        {"exp": 10**30}, {"exp": float("inf")}, {"exp": float("nan")}, {"exp": [NOW_S + 5]},
        {"iat": NOW_S + 6}, {"iat": "now"}, {"nbf": NOW_S + 6}, {"nbf": "now"},
        {"runs": "all"}, {"runs": ["*", "x"]}, {"runs": [5]}, {"runs": {"*": 1}}, {"runs": 5}, {"runs": [RUN + " "]},
        {"role": "root"}, {"role": ""}, {"role": ["admin"]}, {"role": 1}, {"jti": 5},
        {"aud": "somebody"}, {"aud": ["somebody"]},
    ],
)  # fmt: skip
def test_a_token_with_a_claim_that_is_wrong_lets_nobody_in(clock: Clock, changed: dict[str, Any]) -> None:
    """Missing, of the wrong type, out of range, in the past, of the future, or meant for somebody else."""
    assert refused(door_of(clock), sign(claims(**changed)))


def test_a_token_without_role_and_runs_gives_the_least(clock: Clock) -> None:
    """What is not said is not given: a viewer of nothing."""
    identity = door_of(clock).authenticate(sign(claims(role=None, runs=None)))
    assert (identity.is_viewer, identity.runs, identity.may_enter(RUN)) == (True, frozenset(), False)


@pytest.mark.parametrize(
    ("runs", "enters", "enters_other"),
    [("*", True, True), (["*"], True, True), (RUN, True, False), ([RUN.upper()], True, False), ([], False, False)],
)
def test_runs_are_ids_or_a_star(clock: Clock, runs: Any, enters: bool, enters_other: bool) -> None:
    """In either case of letters, as everywhere."""
    identity = door_of(clock).authenticate(sign(claims(runs=runs)))
    assert (identity.may_enter(RUN), identity.may_enter(OTHER_RUN)) == (enters, enters_other)


def test_a_token_ends_at_its_expiry_to_the_millisecond(clock: Clock) -> None:
    """Also one that was seen before: what is remembered of it is its signature."""
    door, token = door_of(clock), sign(claims())
    identity = door.authenticate(token)
    clock.now_ms = (NOW_S + 600) * 1000 - 1
    assert not refused(door, token)
    clock.now_ms += 1
    assert refused(door, token)
    with pytest.raises(ProtocolError):
        door.recheck(identity)


def test_the_issuers_clock_may_be_a_little_ahead(clock: Clock) -> None:
    """By auth.leeway_s."""
    door = door_of(clock, leeway_s=2)
    assert not refused(door, sign(claims(iat=NOW_S + 2, nbf=NOW_S + 2)))
    assert refused(door, sign(claims(iat=NOW_S + 3)))
    assert refused(door, sign(claims(nbf=NOW_S + 3)))


def test_a_token_of_this_very_moment_is_good(clock: Clock) -> None:
    """Where its iat is finer than the clock that it is compared with."""
    assert not refused(door_of(clock, leeway_s=0), sign(claims(iat=NOW_S + 0.0009, nbf=NOW_S + 0.0009)))


def test_audience_and_issuer_are_checked_where_they_are_configured(clock: Clock) -> None:
    """A token of the same issuer for another service opens nothing here."""
    door = door_of(clock, audience="collabd", issuer="https://id.example")
    assert not refused(door, sign(claims(aud="collabd", iss="https://id.example")))
    assert not refused(door, sign(claims(aud=["x", "collabd"], iss="https://id.example")))
    for changed in [{}, {"aud": "collabd"}, {"iss": "https://id.example"}, {"aud": "x", "iss": "https://id.example"}]:
        assert refused(door, sign(claims(**changed)))


# Revocation


def test_a_revoked_token_is_refused_at_once_and_no_other(clock: Clock) -> None:
    """By its id, also when it was seen before."""
    door, token, other = door_of(clock), sign(claims()), sign(claims(jti="token-2"))
    identity = door.authenticate(token)
    door.revoke(Revocation("jti", "token-1", clock.now_ms))
    assert refused(door, token)
    with pytest.raises(ProtocolError):
        door.recheck(identity)
    assert not refused(door, other)
    assert not refused(door, sign(claims(jti=None)))


def test_a_revoked_user_needs_a_token_that_was_issued_later(clock: Clock) -> None:
    """Later than the leeway, for the issuer's clock may be ahead; a token that does not say when is an old one."""
    door = door_of(clock, leeway_s=2)
    door.revoke(Revocation("sub", "ann", clock.now_ms))
    clock.now_ms += 10_000
    assert refused(door, sign(claims()))
    assert refused(door, sign(claims(iat=None)))
    assert refused(door, sign(claims(iat=NOW_S + 2)))
    assert not refused(door, sign(claims(iat=NOW_S + 3)))
    assert not refused(door, sign(claims(sub="bea")))


def test_an_earlier_revocation_does_not_undo_a_later_one(clock: Clock) -> None:
    """In whatever order they are loaded at start."""
    door = door_of(clock)
    door.revoke(Revocation("sub", "ann", clock.now_ms))
    door.revoke(Revocation("sub", "ann", 1))
    assert refused(door, sign(claims()))


def test_what_is_remembered_of_tokens_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """And holds no token."""
    monkeypatch.setattr(tokens, "_CACHED", 3)
    door = door_of(clock)
    made = [sign(claims(jti=str(number))) for number in range(10)]
    for token in made:
        door.authenticate(token)
    assert len(door._known) == 3
    assert not any(str(known) in token for known in door._known for token in made)
    assert not refused(door, made[0])


def test_a_token_seen_before_is_not_checked_anew(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls stay cheap."""
    door, token = door_of(clock), sign(claims())
    door.authenticate(token)
    monkeypatch.setattr(door, "_verified", lambda token: pytest.fail("checked again"))
    assert not refused(door, token)


# Rubbish


def test_a_token_that_is_too_long_is_not_even_looked_at(clock: Clock) -> None:
    """However good it is."""
    assert refused(door_of(clock), sign(claims(more="x" * tokens.MAX_TOKEN_LENGTH)))
    assert not refused(door_of(clock), sign(claims(more="x" * (tokens.MAX_TOKEN_LENGTH // 2))))


_DEEP = '{"a":' * 3000 + "1" + "}" * 3000


@pytest.mark.parametrize(
    "token",
    [
        None, "", ".", "..", "...", "a.b.c", "a" * 9000, "é.é.é", "\ud800.a.b", " ", "Bearer x",
        f"{encoded([1])}.{encoded(claims())}.", f"{encoded({'alg': 'HS256', 'kid': 5})}.{encoded(claims())}.",
        sign(claims(), head={"crit": ["exp"], "exp": 1}), sign(claims()) + ".x", sign(claims())[:-1],
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused_like_any_bad_one(clock: Clock, token: str | None) -> None:
    """Never an error of another kind."""
    assert refused(door_of(clock), token)


def test_a_deeply_nested_head_is_refused_like_any_bad_token(clock: Clock) -> None:
    """It is read before any signature is checked, so anybody may send it."""
    import base64

    for text in (_DEEP, "[" * 5000, '"' + "\\" * 4000):
        head = base64.urlsafe_b64encode(text.encode()[:6000]).rstrip(b"=").decode()
        assert refused(door_of(clock), f"{head}.e30.AA")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_DOOR = door_of(Clock())


@given(token=st.text(alphabet="abcAB.-_=09 é", max_size=60) | st.text(max_size=20))
def test_no_text_makes_the_door_fail(token: str) -> None:
    """Only refuse."""
    assert refused(_DOOR, token)


@given(head=st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "zip", "jwk", "jku"]), _json))
def test_no_head_makes_the_door_fail(head: dict[str, Any]) -> None:
    """Whatever it names: embedded keys and addresses of keys are never followed."""
    assert refused(_DOOR, unsigned(claims(), head))


@given(changed=st.dictionaries(st.sampled_from(["sub", "exp", "runs", "role", "jti", "iat", "nbf", "aud"]), _json))
def test_no_claims_make_the_door_fail(changed: dict[str, Any]) -> None:
    """Even of an issuer that has the key and lost its mind."""
    token = sign(claims(exp=NOW_S - 5) | changed)
    if not refused(_DOOR, token):
        assert changed["exp"] > NOW_S


# Keys


def keys_of(tmp_path: Path, algorithm: str, text: str, setting: str = "key_file") -> list[tokens.Key]:
    """What load_keys makes of a file."""
    path = tmp_path / "key"
    path.write_text(text)
    auth = msgspec.structs.replace(Auth(mode="jwt"), algorithm=algorithm, **{setting: path})
    return load_keys(auth, {})


@each_algorithm
def test_a_key_comes_from_a_file(tmp_path: Path, clock: Clock, algorithm: str) -> None:
    """The line end that every editor puts at its end is none of it."""
    keys = keys_of(tmp_path, algorithm, f"\n{key_pair(algorithm).public}\n\n")
    assert not refused(door_of(clock, keys, algorithm=algorithm), sign(claims(), algorithm=algorithm))


def refusal(tmp_path: Path, algorithm: str, text: str, setting: str = "key_file") -> str:
    """The one problem of a key, which must not repeat it."""
    with pytest.raises(ConfigError) as caught:
        keys_of(tmp_path, algorithm, text, setting)
    (problem,) = caught.value.problems
    assert problem.startswith(f"[auth] {setting}: ")
    assert not any(secret in problem for secret in NEVER_SHOWN)
    assert caught.value.__cause__ is None
    return problem


def test_a_key_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """RFC 7518, sections 3.2 and 3.3."""
    assert "at least 32 bytes" in refusal(tmp_path, "HS256", "worth nothing")
    weak = key_pair("RS256", bits=1024)
    assert "at least 2048 bits" in refusal(tmp_path, "RS256", weak.public)
    assert "at least 2048 bits" in refusal(
        tmp_path, "RS256", json.dumps({"keys": [jwk_of("RS256", weak)]}), "jwks_file"
    )


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_private_key_is_refused(tmp_path: Path, algorithm: str) -> None:
    """A daemon that could make tokens would be worth breaking into."""
    assert "private key" in refusal(tmp_path, algorithm, key_pair(algorithm).private)
    member = jwk_of(algorithm, key_pair(algorithm), d="worth nothing", kid="k")
    assert "'k' is private" in refusal(tmp_path, algorithm, json.dumps({"keys": [member]}), "jwks_file")


@each_algorithm
def test_a_key_for_another_algorithm_is_refused(tmp_path: Path, algorithm: str) -> None:
    """At start, not at the first token."""
    for other in ALGORITHMS:
        if other not in (algorithm, "HS256"):
            assert f"no key for {algorithm}" in refusal(tmp_path, algorithm, key_pair(other).public)
    if algorithm != "HS256":
        assert f"no key for {algorithm}" in refusal(tmp_path, algorithm, key_pair("HS256").public)


def test_es256_means_its_own_curve(tmp_path: Path) -> None:
    """RFC 7518, section 3.4: P-256."""
    assert "no key for ES256" in refusal(tmp_path, "ES256", key_pair("ES256", curve=ec.SECP384R1).public)
    key_set = json.dumps({"keys": [jwk_of("ES256", key_pair("ES256"), crv="P-384")]})
    assert "must hold 1 to 100 keys" in refusal(tmp_path, "ES256", key_set, "jwks_file")


@pytest.mark.parametrize("text", ["", "{}", "[]", "x", '{"keys": 5}', '{"keys": []}', '{"keys": [5]}', "[" * 100_000])
def test_what_is_no_key_set_is_refused(tmp_path: Path, text: str) -> None:
    """In words."""
    refusal(tmp_path, "RS256", text, "jwks_file")


def test_a_broken_member_of_a_key_set_is_named_and_not_shown(tmp_path: Path) -> None:
    """PyJWT's own message would repeat the whole key."""
    member = {"kty": "oct", "kid": "k", "k": ["worth nothing"]}
    assert "the key 'k' is no key" in refusal(tmp_path, "HS256", json.dumps({"keys": [member]}), "jwks_file")


def test_a_variable_that_is_not_set_is_named() -> None:
    """By name, and an empty one is as good as none."""
    for environ in ({}, {"KEY": ""}):
        with pytest.raises(ConfigError, match=r"\[auth\] key_env: the environment variable KEY is not set"):
            load_keys(msgspec.structs.replace(Auth(mode="jwt"), key_env="KEY"), environ)


@each_algorithm
def test_a_key_set_checks_each_token_by_the_key_it_names(tmp_path: Path, clock: Clock, algorithm: str) -> None:
    """So that keys can be changed without a moment at which good tokens are refused."""
    old, new = key_pair(algorithm), key_pair(algorithm, 1)
    unrelated = {"kty": "EC", "crv": "P-384", "kid": "x"}, {"kty": "RSA", "use": "enc", "kid": "y"}
    members = [jwk_of(algorithm, old, kid="old"), *unrelated, jwk_of(algorithm, new, kid="new", use="sig")]
    keys = keys_of(tmp_path, algorithm, json.dumps({"keys": members}), "jwks_file")
    assert [key.name for key in keys] == ["old", "new"]
    door = door_of(clock, keys, algorithm=algorithm)

    def token(pair: KeyPair, head: dict[str, Any] | None) -> str:
        return sign(claims(), algorithm=algorithm, key=pair.private, head=head)

    assert not refused(door, token(old, {"kid": "old"}))
    assert not refused(door, token(new, {"kid": "new"}))
    assert not refused(door, token(new, None))
    assert refused(door, token(new, {"kid": "old"}))
    assert refused(door, token(new, {"kid": "unknown"}))
    assert refused(door, token(key_pair(algorithm, 2), None))


# Making one


@each_algorithm
def test_a_minted_token_lets_in(tmp_path: Path, algorithm: str) -> None:
    """`collabd token` and the door are two sides of one thing."""
    import time

    clock = Clock()
    clock.now_ms = int(time.time() * 1000)
    auth = Auth(mode="jwt", algorithm=algorithm, audience="us", issuer="me")  # type: ignore[arg-type]
    token = mint(auth, key_pair(algorithm).private, user_id="zoë", runs=[RUN], role="admin", lifetime_s=60)
    identity = door_of(clock, algorithm=algorithm, audience="us", issuer="me").authenticate(token)
    assert (identity.user_id, identity.role, identity.runs) == ("zoë", "admin", frozenset({RUN}))
    assert identity.token_id is not None
    assert len(identity.token_id) >= 16
    assert identity.expires_at is not None
    assert 58_000 < identity.expires_at - clock.now_ms <= 60_000


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_key_that_cannot_sign_mints_nothing(algorithm: str) -> None:
    """The public half, or another algorithm's."""
    auth = Auth(mode="jwt", algorithm=algorithm)  # type: ignore[arg-type]
    for key in (key_pair(algorithm).public, "worth nothing", key_pair("HS256").private):
        with pytest.raises(ConfigError) as caught:
            mint(auth, key, user_id="a", runs=["*"], role="viewer", lifetime_s=60)
        assert not any(secret in str(caught.value) for secret in NEVER_SHOWN[:2])
