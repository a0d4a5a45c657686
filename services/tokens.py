"""Access tokens: JWTs signed with ES256, good for 15 minutes on every process, unless revoked.

Who is asking is decided here without a round trip: by the signature, remembered in a bounded cache, and by what
`revoke` was told. A token carries its user's generation, which rises when roles change or the account is suspended;
so a revocation of "all tokens until now" needs no clock.
"""

import base64
import hashlib
import hmac
import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from protocols.errors import Failure, unauthenticated
from protocols.identity import Viewer
from settings import Settings, SettingsError
from stores import keyfile

ALGORITHM = "ES256"
AUDIENCE = "wechat"
LIFETIME = timedelta(minutes=15)
TOKEN_CHARS_MAX = 4_096  # ours have about 600; what is longer is not even parsed
CACHE_MAX = 20_000  # verified tokens a process remembers, about 1.5 kB each
KEY_FILE = "jwt-key.pem"
CLAIMS = ["sub", "username", "roles", "sid", "jti", "gen", "iss", "aud", "exp", "iat"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a token is made out to."""

    user_id: str
    username: str
    roles: tuple[str, ...]
    generation: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """The end of one session, or (session_id None) of a user's tokens of every generation before `generation`."""

    user_id: str
    session_id: str | None
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Verified:
    viewer: Viewer
    generation: int


class Tokens:
    def __init__(self, key: ec.EllipticCurvePrivateKey, issuer: str) -> None:
        self._key, self._public, self._issuer = key, key.public_key(), issuer
        self._jwk = public_jwk(self._public)
        self._cache: OrderedDict[str, Verified] = OrderedDict()
        self._ended: dict[str, float] = {}  # session -> when its last token has expired by itself
        self._generations: dict[str, tuple[int, float]] = {}  # user -> oldest generation that is good, and as above

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """With the key of the settings, else the one kept in the data folder. Blocks: for start-up only.
        Raises SettingsError."""
        if settings.jwt_private_key is not None:
            pem = settings.jwt_private_key.replace("\\n", "\n").encode()  # some platforms keep variables on one line
        else:
            pem = keyfile.read_or_make(settings.data_dir / KEY_FILE, new_key)
        return cls(private_key(pem), settings.public_url)

    def issue(self, subject: Subject, session_id: str, token_id: str, moment: datetime) -> str:
        """The token of `moment`. The same arguments give the same token, byte for byte."""
        claims: dict[str, object] = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": subject.user_id,
            "nameid": subject.user_id,  # as SignalR's user id is named elsewhere
            "username": subject.username,
            "roles": list(subject.roles),
            "sid": session_id,
            "gen": subject.generation,
            "jti": token_id,
            "iat": int(moment.timestamp()),
            "exp": int((moment + LIFETIME).timestamp()),
        }
        head = f"{segment({'alg': ALGORITHM, 'kid': self._jwk['kid'], 'typ': 'JWT'})}.{segment(claims)}"
        # Signed here, for PyJWT's signatures differ from call to call, and a repeated refresh must be equal.
        r, s = decode_dss_signature(
            self._key.sign(head.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        )
        return f"{head}.{base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def verify(self, token: str) -> Viewer:
        """Raises Failure (token_expired; unauthenticated for all else). About 1 us for a token seen before."""
        verified = self._cache.get(token)
        if verified is None:
            verified = self._decode(token)
            self._cache[token] = verified
            if len(self._cache) > CACHE_MAX:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(token)
        viewer = verified.viewer
        if viewer.expires_at <= time.time():
            del self._cache[token]
            raise expired()
        if self._revoked(verified):
            del self._cache[token]
            raise unauthenticated("This access token was revoked.")
        return viewer

    def revoke(self, revocation: Revocation) -> bool:
        """Refuse what the revocation names, from now on. Returns whether that was news; to repeat it is harmless."""
        now = time.time()
        self._forget(now)
        until = now + LIFETIME.total_seconds()
        if revocation.session_id is not None:
            known = revocation.session_id in self._ended
            self._ended.setdefault(revocation.session_id, until)
            return not known
        known = self._generations.get(revocation.user_id, (0, 0.0))[0] >= revocation.generation
        if not known:
            self._generations.pop(revocation.user_id, None)  # to the end, as the order is that of time
            self._generations[revocation.user_id] = (revocation.generation, until)
        return not known

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public key, as RFC 7517 writes it."""
        return {"keys": [self._jwk]}

    def secret(self, purpose: str) -> bytes:
        """A key for HMACs, equal on every process that has the same signing key."""
        number = self._key.private_numbers().private_value.to_bytes(32, "big")
        return hmac.digest(number, f"wechat:{purpose}".encode(), "sha256")

    def _revoked(self, verified: Verified) -> bool:
        viewer = verified.viewer
        oldest = self._generations.get(viewer.user_id)
        return viewer.session_id in self._ended or (oldest is not None and verified.generation < oldest[0])

    def _forget(self, now: float) -> None:
        """Drop what no living token can be meant by; both are in order of time, so that only old ones are touched."""
        while self._ended and (first := next(iter(self._ended.items())))[1] <= now:
            del self._ended[first[0]]
        while self._generations and (oldest := next(iter(self._generations.items())))[1][1] <= now:
            del self._generations[oldest[0]]

    def _decode(self, token: str) -> Verified:
        if len(token) > TOKEN_CHARS_MAX or not token.isascii():
            raise unauthenticated()
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._public,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=self._issuer,
                options={"require": CLAIMS, "verify_iat": False},  # another process's clock may be a little ahead
            )
        except jwt.ExpiredSignatureError:
            raise expired() from None
        except (jwt.InvalidTokenError, ValueError, RecursionError):  # the last: brackets without end
            raise unauthenticated() from None
        roles = tuple(claims["roles"])
        viewer = Viewer(claims["sub"], claims["sid"], claims["username"], roles, float(claims["exp"]))
        return Verified(viewer, claims["gen"])


def expired() -> Failure:
    return unauthenticated("The access token has expired; refresh it.", "token_expired")


def new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises SettingsError."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingsError("JWT_PRIVATE_KEY: not a private key in PEM without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SettingsError("JWT_PRIVATE_KEY: not a key of the curve P-256, which ES256 needs")
    return key


def public_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    point = {"crv": "P-256", "kty": "EC", "x": coordinate(numbers.x), "y": coordinate(numbers.y)}
    thumbprint = hashlib.sha256(json.dumps(point, separators=(",", ":"), sort_keys=True).encode()).digest()  # RFC 7638
    return point | {"kid": base64url(thumbprint), "use": "sig", "alg": ALGORITHM}


def coordinate(number: int) -> str:
    return base64url(number.to_bytes(32, "big"))


def segment(content: dict[str, object]) -> str:
    return base64url(json.dumps(content, separators=(",", ":")).encode())


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
