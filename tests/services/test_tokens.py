import base64
import hmac
import json
import multiprocessing
import time
import timeit
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from protocols.errors import Failure, Kind
from protocols.ids import new_id
from protocols.times import now
from services import tokens as module
from services.tokens import Revocation, Subject, Tokens, new_key
from settings import Settings, SettingsError
from stores import keyfile

ISSUER = "http://localhost:8080"
KEY = ec.generate_private_key(ec.SECP256R1())
SUBJECT = Subject(new_id(), "ada", ("user", "moderator"), 3)


def issue(tokens: Tokens, session_id: str = "s", age: timedelta = timedelta(0), subject: Subject = SUBJECT) -> str:
    return tokens.issue(subject, session_id, new_id(), now() - age)


def claims(**changes: object) -> dict[str, object]:
    token = issue(Tokens(KEY, ISSUER))
    return jwt.decode(token, options={"verify_signature": False}) | changes


def segment(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def assert_refused(token: str, code: str = "unauthenticated", tokens: Tokens | None = None) -> None:
    with pytest.raises(Failure) as caught:
        (tokens or Tokens(KEY, ISSUER)).verify(token)
    assert (caught.value.kind, caught.value.code) == (Kind.UNAUTHENTICATED, code)


def test_a_token_carries_the_claims_of_the_specification() -> None:
    tokens = Tokens(KEY, ISSUER)
    token = issue(tokens, "session")
    seen = jwt.decode(token, jwt.PyJWK(tokens.jwks()["keys"][0]), algorithms=["ES256"], audience="wechat")
    assert seen["sub"] == seen["nameid"] == SUBJECT.user_id
    assert (seen["username"], seen["roles"], seen["sid"]) == ("ada", ["user", "moderator"], "session")
    assert (seen["iss"], seen["exp"] - seen["iat"]) == (ISSUER, 900)
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "JWT", "kid": tokens.jwks()["keys"][0]["kid"]}


def test_the_viewer_is_what_was_issued() -> None:
    tokens = Tokens(KEY, ISSUER)
    viewer = tokens.verify(issue(tokens, "session"))
    assert (viewer.user_id, viewer.session_id, viewer.username, viewer.roles) == (
        SUBJECT.user_id,
        "session",
        "ada",
        ("user", "moderator"),
    )
    assert 898 < viewer.expires_at - time.time() <= 900


def test_the_same_arguments_give_the_same_token() -> None:
    tokens, moment = Tokens(KEY, ISSUER), datetime(2030, 1, 1, tzinfo=UTC)
    assert tokens.issue(SUBJECT, "s", "j", moment) == tokens.issue(SUBJECT, "s", "j", moment)


def test_the_public_key_has_no_private_part() -> None:
    assert set(Tokens(KEY, ISSUER).jwks()["keys"][0]) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_an_expired_token_is_told_apart() -> None:
    assert_refused(issue(Tokens(KEY, ISSUER), age=timedelta(minutes=15, seconds=1)), "token_expired")


def test_a_remembered_token_expires_too(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(KEY, ISSUER)
    token = issue(tokens)
    later = tokens.verify(token).expires_at
    monkeypatch.setattr(module.time, "time", lambda: later)
    assert_refused(token, "token_expired", tokens)


PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hs256_with_the_public_key() -> str:
    head = f"{segment({'alg': 'HS256', 'typ': 'JWT'})}.{segment(claims())}"
    mac = hmac.digest(PUBLIC_PEM, head.encode(), "sha256")
    return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def tampered() -> str:
    head, _, signature = issue(Tokens(KEY, ISSUER)).split(".")
    return f"{head}.{segment(claims(roles=['admin']))}.{signature}"


FORGERIES = {
    "alg none": f"{segment({'alg': 'none', 'typ': 'JWT'})}.{segment(claims())}.",
    "HS256 with the public key": hs256_with_the_public_key(),
    "another key": issue(Tokens(ec.generate_private_key(ec.SECP256R1()), ISSUER)),
    "another audience": jwt.encode(claims(aud="other"), KEY, "ES256"),
    "another issuer": jwt.encode(claims(iss="http://other"), KEY, "ES256"),
    "no audience": jwt.encode({k: v for k, v in claims().items() if k != "aud"}, KEY, "ES256"),
    "no expiry": jwt.encode({k: v for k, v in claims().items() if k != "exp"}, KEY, "ES256"),
    "no session": jwt.encode({k: v for k, v in claims().items() if k != "sid"}, KEY, "ES256"),
    "changed claims": tampered(),
    "no signature": issue(Tokens(KEY, ISSUER)).rpartition(".")[0] + ".",
    "empty": "",
    "dots": "..",
    "garbage": "a.b.c",
    "not ASCII": "ä.ö.ü",
    "half of a surrogate pair": "\udce4",
    "NUL": "\0",
    "brackets without end": f"{base64.urlsafe_b64encode(b'[' * 2_900).decode().rstrip('=')}.e30.AA",
    "huge": "a" * 1_000_000,
}


@pytest.mark.parametrize("token", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_is_refused(token: str) -> None:
    assert_refused(token)


def test_a_revoked_session_is_refused_seen_before_or_not() -> None:
    tokens = Tokens(KEY, ISSUER)
    seen, unseen, other = issue(tokens, "one"), issue(tokens, "one"), issue(tokens, "two")
    tokens.verify(seen)
    assert tokens.revoke(Revocation(SUBJECT.user_id, "one"))
    assert not tokens.revoke(Revocation(SUBJECT.user_id, "one"))
    assert_refused(seen, tokens=tokens)
    assert_refused(unseen, tokens=tokens)
    tokens.verify(other)


def test_a_revoked_generation_leaves_later_ones_alone() -> None:
    tokens = Tokens(KEY, ISSUER)
    old, new = issue(tokens), issue(tokens, subject=Subject(SUBJECT.user_id, "ada", (), 4))
    tokens.verify(old)
    assert tokens.revoke(Revocation(SUBJECT.user_id, None, 4))
    assert not tokens.revoke(Revocation(SUBJECT.user_id, None, 3))
    assert_refused(old, tokens=tokens)
    tokens.verify(new)


def test_revocations_are_forgotten_with_the_last_token_that_they_could_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(KEY, ISSUER)
    for number in range(10):
        tokens.revoke(Revocation(f"u{number}", f"s{number}"))
        tokens.revoke(Revocation(f"u{number}", None, 1))
    later = time.time() + 901
    monkeypatch.setattr(module.time, "time", lambda: later)
    tokens.revoke(Revocation("u", "s"))
    assert len(tokens._ended) == 1 and not tokens._generations


def test_the_cache_is_bounded_and_forgets_the_least_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_MAX", 3)
    tokens = Tokens(KEY, ISSUER)
    issued = [issue(tokens) for _ in range(5)]
    for token in issued:
        tokens.verify(issued[0])
        tokens.verify(token)
    assert list(tokens._cache) == [issued[3], issued[0], issued[4]]


def test_a_token_seen_before_costs_about_a_microsecond() -> None:
    tokens = Tokens(KEY, ISSUER)
    token = issue(tokens)
    tokens.verify(token)
    seconds = min(timeit.repeat(lambda: tokens.verify(token), number=10_000, repeat=5)) / 10_000
    assert seconds < 5e-6  # measured: 0.6


def test_secrets_differ_by_purpose_and_key() -> None:
    tokens, other = Tokens(KEY, ISSUER), Tokens(ec.generate_private_key(ec.SECP256R1()), ISSUER)
    assert len({tokens.secret("a"), tokens.secret("b"), other.secret("a")}) == 3
    assert tokens.secret("a") == Tokens(KEY, ISSUER).secret("a")


def settings(folder: Path, pem: str | None = None) -> Settings:
    return Settings(mongodb_url="", database_url="", redis_url="", data_dir=folder, jwt_private_key=pem)


def test_the_key_is_made_once_and_kept_to_oneself(tmp_path: Path) -> None:
    first, second = Tokens.load(settings(tmp_path / "new")), Tokens.load(settings(tmp_path / "new"))
    assert first.jwks() == second.jwks()
    assert (tmp_path / "new" / module.KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_a_key_in_the_settings_counts_on_one_line_too(tmp_path: Path) -> None:
    pem = new_key().decode()
    one_line = pem.replace("\n", "\\n")
    assert Tokens.load(settings(tmp_path, pem)).jwks() == Tokens.load(settings(tmp_path, one_line)).jwks()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "not PEM",
        ec.generate_private_key(ec.SECP384R1())
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode(),
        PUBLIC_PEM.decode(),
    ],
)
def test_a_key_that_does_not_fit_is_told_with_its_variable(tmp_path: Path, pem: str) -> None:
    with pytest.raises(SettingsError, match="JWT_PRIVATE_KEY"):
        Tokens.load(settings(tmp_path, pem))


def read(path: Path) -> bytes:
    return keyfile.read_or_make(path, new_key)


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = pool.map(read, [tmp_path / f"key{number}" for number in range(25) for _ in range(4)], chunksize=1)
    assert all(len(set(found[start : start + 4])) == 1 for start in range(0, 100, 4))
    assert len(list(tmp_path.iterdir())) == 25
