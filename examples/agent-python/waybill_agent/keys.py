"""The key pairs of the box: who signs its requests, and to whom data keys are wrapped."""

import base64
import hashlib
import json
import os
import time
import uuid

from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from .files import write_whole
from .refusal import Refusal


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def thumbprint(jwk: dict) -> str:
    """RFC 7638, of a public OKP key."""
    canonical = json.dumps({"crv": jwk["crv"], "kty": jwk["kty"], "x": jwk["x"]}, separators=(",", ":"))
    return b64url(hashlib.sha256(canonical.encode()).digest())


class Keys:
    """Made on the first start, kept on the volume with mode 0600, never sent anywhere."""

    def __init__(self, folder: str):
        path = os.path.join(folder, "keys.json")
        if os.path.exists(path):
            with open(path, encoding="utf8") as kept:
                stored = json.load(kept)
            self._signing = Ed25519PrivateKey.from_private_bytes(unb64url(stored["signing"]["d"]))
            self._encryption = X25519PrivateKey.from_private_bytes(unb64url(stored["encryption"]["d"]))
        else:
            self._signing, self._encryption = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
            write_whole(path, json.dumps({"signing": _private(self._signing, "Ed25519"), "encryption": _private(self._encryption, "X25519")}))
        self.signing_jwk = _public(self._signing, "Ed25519")
        self.encryption_jwk = _public(self._encryption, "X25519")
        write_whole(os.path.join(folder, "public-keys.json"), json.dumps({
            "signing": self.signing_jwk, "signing_thumbprint": thumbprint(self.signing_jwk),
            "encryption": self.encryption_jwk, "encryption_thumbprint": thumbprint(self.encryption_jwk),
        }))

    def proof(self, method: str, url: str, token: str, now: float) -> str:
        """A DPoP proof (RFC 9449): for this request, with this token, once."""
        header = {"typ": "dpop+jwt", "alg": "EdDSA", "jwk": self.signing_jwk}
        claims = {"htm": method, "htu": url.split("?")[0], "jti": str(uuid.uuid4()), "iat": int(now), "ath": b64url(hashlib.sha256(token.encode()).digest())}
        signed = ".".join(b64url(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{b64url(self._signing.sign(signed.encode()))}"

    def unwrap(self, jwe: str) -> dict:
        """JWE, ECDH-ES+A256KW and A256GCM, compact: what was wrapped to this box."""
        try:
            protected, wrapped, iv, ciphertext, tag = jwe.split(".")
            header = json.loads(unb64url(protected))
            if header["alg"] != "ECDH-ES+A256KW" or header["enc"] != "A256GCM":
                raise ValueError("another algorithm")
            sender = X25519PublicKey.from_public_bytes(unb64url(header["epk"]["x"]))
            shared = self._encryption.exchange(sender)
            parties = b"".join(len(part).to_bytes(4, "big") + part for part in (b"ECDH-ES+A256KW", unb64url(header.get("apu", "")), unb64url(header.get("apv", ""))))
            kek = ConcatKDFHash(hashes.SHA256(), 32, parties + (256).to_bytes(4, "big")).derive(shared)
            key = keywrap.aes_key_unwrap(kek, unb64url(wrapped))
            return json.loads(AESGCM(key).decrypt(unb64url(iv), unb64url(ciphertext) + unb64url(tag), protected.encode()))
        except Exception as error:  # whatever is wrong with it, it is not for us; the reason could quote the key
            raise Refusal("INTEGRITY_FAILED", "the data key of the grant cannot be opened") from error


def _raw_public(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _public(key, curve: str) -> dict:
    return {"kty": "OKP", "crv": curve, "x": b64url(_raw_public(key))}


def _private(key, curve: str) -> dict:
    raw = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    return {**_public(key, curve), "d": b64url(raw)}


class Clock:
    """The later of this machine's clock and what the broker last told: a clock set back prolongs no lease."""

    def __init__(self):
        self._told = None

    def hear(self, seconds: float) -> None:
        self._told = (seconds, time.monotonic())

    def now(self) -> float:
        return time.time() if self._told is None else self._told[0] + time.monotonic() - self._told[1]

    def latest(self) -> float:
        return max(time.time(), self.now())
