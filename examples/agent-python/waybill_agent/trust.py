"""Which keys may sign: the key list, from the one that the image brings to the newest."""

import base64
import hashlib
import json
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from .files import read_text, write_whole
from .keys import unb64url
from .refusal import Refusal


def moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def is_signed(key_der: bytes, signature: bytes, message: bytes) -> bool:
    key = load_der_public_key(key_der)
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(signature, message)
        return True
    except InvalidSignature:
        return False


class Trust:
    def __init__(self, initial_path: str, kept_path: str, clock):
        self._kept_path, self._clock = kept_path, clock
        text = read_text(kept_path)
        with open(initial_path, encoding="utf8") as initial:
            given = json.load(initial)
        self._signed = given["signed"]
        self.list = json.loads(self._signed)
        if text is not None and json.loads(json.loads(text)["signed"])["version"] > self.list["version"]:
            self._signed = json.loads(text)["signed"]
            self.list = json.loads(self._signed)

    def refresh(self, broker) -> None:
        """Takes newer lists one after the other, each signed by the threshold of the one before and by its own."""
        lists = broker.key_lists(self.list["version"])
        for given in lists:
            self._step(given)
        if moment(self.list["expires_at"]) <= self._clock.latest():
            raise Refusal("INTEGRITY_FAILED", "the key list has expired")

    def _step(self, given: dict) -> None:
        following = json.loads(given["signed"])
        if following["version"] != self.list["version"] + 1:
            raise Refusal("INTEGRITY_FAILED", "the next key list has another version than the next")
        message = b"waybill key list v1\n" + hashlib.sha256(given["signed"].encode()).hexdigest().encode()
        for root in (self.list["root"], following["root"]):
            keys = {key["key_id"]: base64.b64decode(key["public_key"]) for key in root["keys"]}
            signers = {one["key_id"] for one in given["signatures"]
                       if one["key_id"] in keys and is_signed(keys[one["key_id"]], base64.b64decode(one["signature"]), message)}
            if len(signers) < root["threshold"]:
                raise Refusal("INTEGRITY_FAILED", "the next key list has too few signatures")
        self._signed, self.list = given["signed"], following
        write_whole(self._kept_path, json.dumps(given))

    def seller_keys(self, seller_id: str) -> list[bytes]:
        return [base64.b64decode(key["public_key"]) for seller in self.list["sellers"] if seller["seller_id"] == seller_id for key in seller["keys"]]

    def read_lease(self, jws: str, workspace_id: str) -> dict:
        """What may be kept while the broker is away, if one of the broker's keys signed it for this workspace."""
        header, claims, signature = jws.split(".")
        read = json.loads(unb64url(header))
        key = next((key for key in self.list["broker"]["keys"] if key["key_id"] == read.get("kid")), None)
        if key is None or read.get("typ") != "waybill-lease+jwt" or read.get("alg") not in ("EdDSA", "Ed25519"):
            raise Refusal("INTEGRITY_FAILED", "the lease is by nobody we know")
        if not is_signed(base64.b64decode(key["public_key"]), unb64url(signature), f"{header}.{claims}".encode()):
            raise Refusal("INTEGRITY_FAILED", "the lease was altered")
        lease = json.loads(unb64url(claims))
        if lease["sub"] != workspace_id:
            raise Refusal("INTEGRITY_FAILED", "the lease is for another workspace")
        return lease
