"""From a grant to verified files: nothing is handed on before the last check."""

import base64
import hashlib
import http.client
import json
import re
import urllib.parse

import aws_encryption_sdk
import zstandard
from aws_encryption_sdk.identifiers import CommitmentPolicy
from aws_encryption_sdk.key_providers.base import MasterKeyProvider, MasterKeyProviderConfig
from aws_encryption_sdk.structures import DataKey, MasterKeyInfo

from .refusal import Refusal
from .trust import is_signed

FIELDS = ("format", "item_id", "kind", "seller_id", "version", "runtimes", "source", "archive_sha256", "archive_bytes", "files")
FILE_FIELDS = ("path", "bytes", "sha256", "executable", "identity")
UNPACKED_MAX = 512 * 1024 * 1024
RATIO_MAX = 200
ROOTS = {"claude-code": "configs", "codex": "configs", "langgraph": "configs", "hermes": ".hermes"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def verify_set(wanted: dict, trust) -> list[dict]:
    """Checks 1 to 4: the wanted items, each with its manifest and its files at their places."""
    lines = sorted(f"{item['item_id']} {item['version']} {item['archive_sha256']}\n" for item in wanted["items"])
    if sha256("".join(lines).encode()) != wanted["set_digest"]:
        raise Refusal("INTEGRITY_FAILED", "the set digest is not that of the items")
    return [_verify_item(wanted, item, trust) for item in wanted["items"]]


def _verify_item(wanted: dict, item: dict, trust) -> dict:
    root = ROOTS[wanted["runtime"]] if item["kind"] == "template" else f"plugins/{item['item_id']}"
    text, signature = item["manifest"], base64.b64decode(item["manifest_signature"])
    message = b"waybill release manifest v1\n" + sha256(text.encode()).encode()
    if item["target_root"] != root or not any(is_signed(key, signature, message) for key in trust.seller_keys(item["seller_id"])):
        raise Refusal("INTEGRITY_FAILED", f"{item['item_id']}: not signed by a key of its seller")
    manifest = json.loads(text)
    canonical = {name: manifest[name] for name in FIELDS}
    canonical["source"] = {name: manifest["source"][name] for name in ("repository", "commit", "path")}
    canonical["files"] = [{name: file[name] for name in FILE_FIELDS} for file in manifest["files"]]
    if json.dumps(canonical, separators=(",", ":"), ensure_ascii=False) != text or manifest["format"] != 1:
        raise Refusal("MANIFEST_INVALID", "the manifest is not in its canonical form")
    paths = [file["path"].encode() for file in manifest["files"]]
    if paths != sorted(set(paths)) or not all(_is_path(file["path"]) for file in manifest["files"]):
        raise Refusal("MANIFEST_INVALID", "the paths of the manifest are not sorted, or not paths")
    same = all(manifest[name] == item[name] for name in ("item_id", "kind", "seller_id", "version", "archive_sha256", "archive_bytes"))
    if not same or wanted["runtime"] not in manifest["runtimes"]:
        raise Refusal("INTEGRITY_FAILED", "the manifest is that of another release")
    files = [{**file, "archive_path": file["path"], "path": f"{root}/{file['path']}"} for file in manifest["files"]]
    return {"item": item, "manifest": manifest, "files": files}


def _is_path(path: str) -> bool:
    parts = path.split("/")
    return len(path.encode()) <= 240 and not re.search(r"[\x00-\x1f\x7f\\]", path) and not any(part in ("", ".", "..", ".waybill", ".git") for part in parts)


def open_release(verified: dict, grant: dict, content: dict, workspace_id: str, attempt: int, hosts: set[str]) -> dict[str, bytes]:
    """Checks 5 to 10. `content`: what the data key's JWE held. Out: bytes by path in the archive."""
    item, manifest = verified["item"], verified["manifest"]
    context = {"seller": item["seller_id"], "kind": item["kind"], "item": item["item_id"], "version": item["version"], "digest": item["archive_sha256"]}
    bound = (content["format"], content["workspace_id"], content["attempt"], content["ciphertext_sha256"], content["context"])
    if bound != (1, workspace_id, attempt, item["ciphertext_sha256"], context):
        raise Refusal("INTEGRITY_FAILED", "the data key is for another workspace, attempt or release")
    ciphertext = _fetch(grant["url"], grant["headers"], item["ciphertext_bytes"], hosts)
    if len(ciphertext) != item["ciphertext_bytes"] or sha256(ciphertext) != item["ciphertext_sha256"]:
        raise Refusal("INTEGRITY_FAILED", "the sealed object is not the registered one")
    packed = _decrypt(ciphertext, base64.b64decode(content["key"]), context)
    size = item["archive_bytes"]
    if size > UNPACKED_MAX or size > len(packed) * RATIO_MAX:
        raise Refusal("TOO_LARGE", "the archive is beyond the limits")
    try:
        archive = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size + 1)
    except zstandard.ZstdError as error:
        raise Refusal("INTEGRITY_FAILED", "the opened release is not zstd") from error
    if len(archive) != size or sha256(archive) != item["archive_sha256"]:
        raise Refusal("INTEGRITY_FAILED", "the archive has not the digest of the signed manifest")
    return _read_archive(archive, manifest["files"], item["kind"])


def _read_archive(archive: bytes, files: list[dict], kind: str) -> dict[str, bytes]:
    """By the manifest's order and lengths; the digest of the whole was that of the manifest, so the rest is as it has to be."""
    found, offset = {}, 0
    for file in files:
        plain = len(file["path"]) <= 100 and all(0x20 <= ord(letter) <= 0x7e for letter in file["path"])
        if not plain:
            record = len(_pax_record(file["path"]))
            offset += 512 + record + (-record % 512)
        offset += 512
        data = archive[offset:offset + file["bytes"]]
        if sha256(data) != file["sha256"]:
            raise Refusal("INTEGRITY_FAILED", f"{file['path']} has not the digest of the manifest")
        if kind == "template" and file["path"] == "config.yaml" and re.search(rb"(?im)^[\s\"'-]*model[\s\"']*:", data):
            raise Refusal("GATE_FIELD", "config.yaml carries the field model")
        found[file["path"]] = data
        offset += file["bytes"] + (-file["bytes"] % 512)
    return found


def _pax_record(path: str) -> bytes:
    rest = f" path={path}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def _fetch(url: str, headers: dict, longest: int, hosts: set[str]) -> bytes:
    """No redirect is followed; only hosts that were named."""
    parts = urllib.parse.urlsplit(url)
    if f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}" not in hosts:
        raise Refusal("UPSTREAM", "the URL of the grant leads to a host that is not listed")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=15)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        response = connection.getresponse()
        body = response.read(longest + 1)
        if response.status != 200:
            raise Refusal("GRANT_EXPIRED" if b"xpired" in body else "UPSTREAM", f"the store answers {response.status}")
        return body
    except (OSError, http.client.HTTPException) as error:
        raise Refusal("UPSTREAM", f"the store cannot be asked: {error}") from error
    finally:
        connection.close()


class _KnownDataKey(MasterKeyProvider):
    """Hands the Encryption SDK the data key of the grant, whatever stands in the message as the wrapped one."""

    provider_id = "waybill"
    vend_masterkey_on_decrypt = False
    _config_class = MasterKeyProviderConfig

    def __init__(self, key: bytes):
        self._key = key

    def __new__(cls, key: bytes):
        return super().__new__(cls)

    def _new_master_key(self, key_id):
        raise NotImplementedError("for opening alone")

    def master_keys_for_encryption(self, encryption_context, plaintext_rostream, plaintext_length=None):
        raise NotImplementedError("for opening alone")

    def decrypt_data_key_from_list(self, encrypted_data_keys, algorithm, encryption_context):
        (wrapped,) = encrypted_data_keys
        return DataKey(MasterKeyInfo("waybill", b"granted"), self._key, wrapped.encrypted_data_key)


def _decrypt(ciphertext: bytes, key: bytes, context: dict) -> bytes:
    client = aws_encryption_sdk.EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, max_encrypted_data_keys=1)
    try:
        plaintext, header = client.decrypt(source=ciphertext, key_provider=_KnownDataKey(key), max_body_length=1024 * 1024)
    except Exception as error:
        raise Refusal("INTEGRITY_FAILED", "the sealed release does not open with the key of the grant") from error
    if header.encryption_context != context:
        raise Refusal("INTEGRITY_FAILED", "it was sealed as another release")
    return plaintext
