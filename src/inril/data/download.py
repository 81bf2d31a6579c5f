"""Downloads that survive cut connections and killed processes, and are checked before anyone reads them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import requests

from inril.errors import InputError, WrongContent
from inril.files import one_line, write_atomically, write_error
from inril.progress import progress

ANEW = "Move it, and the .sha256 beside it, away to download it anew"  # what readers of a download say of it

_BLOCK = 1 << 16  # bytes; what a cut connection loses at most
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


def fetch(
    url: str,
    path: Path,
    sha256: str | None = None,
    check: Callable[[Path], None] = lambda path: None,
    retries: int = 5,
    timeout_s: float = 30.0,
    backoff_s: float = 1.0,
) -> None:
    """Download a file unless it is there, and verify it either way.

    Until it is whole and verified it is called `<path>.part`; an interrupted download continues from there. A file that
    was there and is not what it should be is moved to `<path>.rejected`, since it may be somebody's own.

    Args:
        url: http or https address.
        path: where the file goes, also when it is downloaded by hand.
        sha256: its checksum in hexadecimal; None takes that in `<path>.sha256`, which the first download records.
        check: raises WrongContent for another kind of file, of which nothing is recorded.
        retries: attempts after the first one.
        timeout_s: longest silence of the server in [s].
        backoff_s: pause before the first retry in [s]; it doubles every time.

    Raises:
        InputError: the address is wrong, the server stays unreachable, the disk is full, the file is of another kind or
            its checksum differs.
    """
    record, part = _beside(path, "sha256"), _beside(path, "part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _download(url, path, retries, timeout_s, backoff_s)
        candidate = path if path.exists() else part
        _validator_of(part).unlink(missing_ok=True)
        _check_kind(url, path, candidate, check)
        expected = sha256.lower() if sha256 is not None else _recorded(record)
        digest = _sha256(candidate)
        if expected is not None and digest != expected:
            fate = _reject(candidate)
            raise _mismatch(url, expected, digest, fate, record if sha256 is None else None)
        if expected is None:
            write_atomically(record, f"{digest}  {path.name}\n".encode())
        if candidate is part:
            part.replace(path)
    except OSError as error:
        raise write_error(path, error) from None


def _check_kind(url: str, path: Path, candidate: Path, check: Callable[[Path], None]) -> None:
    try:
        check(candidate)
    except WrongContent as wrong:
        record = _beside(path, "sha256")
        if _recorded(record) == _sha256(candidate):  # by a version that took whatever came
            record.unlink()
        fate = _reject(candidate)
        raise InputError(url, expected=wrong.expected, got=wrong.got, hint=f"{fate}. {_by_hand(path)}") from None


def _reject(candidate: Path) -> str:
    """Take a file out of the way: what was just fetched is removed, what was there keeps its bytes."""
    if candidate.suffix == ".part":
        candidate.unlink()
        return "Nothing was stored"
    rejected = candidate.replace(_beside(candidate, "rejected"))
    return f"It was moved to {rejected}"


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")


def _by_hand(path: Path) -> str:
    return f"Run again, or download it by hand to {path}"


def _recorded(record: Path) -> str | None:
    words = record.read_text(encoding="utf-8", errors="replace").split() if record.exists() else []
    return words[0] if words else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mismatch(url: str, expected: str, got: str, fate: str, record: Path | None) -> InputError:
    hint = f"{fate}; run again to fetch it anew"
    if record is not None:
        hint += f", and delete {record} if its publisher has replaced it"
    return InputError(url, field="checksum", expected=f"SHA-256 {expected}", got=got, hint=hint)


def _validator_of(part: Path) -> Path:
    """Return the file that remembers which version of the resource `part` is the beginning of."""
    return _beside(part, "etag")


def _download(url: str, path: Path, retries: int, timeout_s: float, backoff_s: float) -> None:
    """Complete the part of `path`, in as many attempts as it takes."""
    part, reason = _beside(path, "part"), ""
    for attempt in range(retries + 1):
        if attempt:
            time.sleep(backoff_s * 2 ** (attempt - 1))
        try:
            _attempt(url, path, timeout_s)
            return
        except requests.RequestException as error:
            reason = one_line(error)
            if isinstance(error, ValueError):  # requests' way of saying that the address itself is malformed
                raise InputError(url, expected="an http or https address", got=reason) from None
    size = part.stat().st_size if part.exists() else 0
    raise InputError(
        url,
        expected="a complete download",
        got=f"after {retries + 1} attempts: {reason}",
        hint=f"Run again: it continues after the {size} bytes in {part}; or download it by hand to {path}",
    )


def _attempt(url: str, path: Path, timeout_s: float) -> None:
    """Fetch what the part of `path` still lacks, or everything where the server cannot continue."""
    part = _beside(path, "part")
    offset = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # compressed bytes could not be continued
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if _validator_of(part).exists():
            headers["If-Range"] = _validator_of(part).read_text(encoding="latin-1")
    with requests.get(url, headers=headers, stream=True, timeout=timeout_s) as response:
        content_range = response.headers.get("Content-Range", "")
        if response.status_code == _RANGE_NOT_SATISFIABLE and content_range == f"bytes */{offset}":
            return  # killed after the last byte
        if response.status_code == _PARTIAL_CONTENT and content_range.startswith(f"bytes {offset}-"):
            _append(response, part, offset)
            return
        if response.status_code in (_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE):
            part.unlink()
            raise requests.RequestException(f"the server cannot continue after {offset} bytes")
        _check_status(url, path, response)
        part.unlink(missing_ok=True)
        _remember_version(response, part)
        _append(response, part, 0)


def _check_status(url: str, path: Path, response: requests.Response) -> None:
    got = f"HTTP status {response.status_code} {response.reason}"
    if response.status_code in _TRANSIENT:
        raise requests.RequestException(got)
    if not response.ok:
        raise InputError(url, expected="a file", got=got, hint=_by_hand(path))


def _remember_version(response: requests.Response, part: Path) -> None:
    # If-Range takes no weak ETag (RFC 9110, section 13.1.5).
    etag = response.headers.get("ETag", "")
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified")
    if validator is None:
        _validator_of(part).unlink(missing_ok=True)
    else:
        _validator_of(part).write_text(validator, encoding="latin-1")  # as requests read it


def _append(response: requests.Response, part: Path, offset: int) -> None:
    length = response.headers.get("Content-Length")
    total = offset + int(length) if length is not None else None
    with part.open("ab") as file, progress(part.stem, total, offset, in_bytes=True) as advance:
        for block in response.iter_content(_BLOCK):
            file.write(block)
            advance(len(block))
        file.flush()
        os.fsync(file.fileno())
