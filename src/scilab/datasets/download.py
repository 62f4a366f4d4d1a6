"""Checked downloads: a file is used only when its SHA-256 is the published one."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

import platformdirs

Progress = Callable[[int, int | None], None]
"""Called as progress(bytes so far, bytes in all or None) while a file arrives."""

BLOCK = 1 << 20
ATTEMPTS = 3


class DownloadError(OSError):
    """A file could not be had; the message says which one, why, and where to put it by hand."""


def data_folder() -> Path:
    """Where downloaded data is kept: $SCILAB_DATA if set, else the platform's cache folder for scilab."""
    chosen = os.environ.get("SCILAB_DATA")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("scilab")) / "datasets"


def fetch(
    urls: str | Sequence[str],
    target: Path,
    sha256: str,
    progress: Progress | None = None,
    timeout_s: float = 30.0,
) -> Path:
    """Return `target`, downloading it first if it is not there.

    The bytes go to `<target>.part`, which a later call continues, and become `target` in one atomic step once
    their SHA-256 equals `sha256`. Each of `urls` is tried up to three times, continuing where the last try
    broke off; the next mirror is for a server that fails. `timeout_s` is the longest silence of a server.

    Raises ValueError if a file already at `target` has other contents, DownloadError if none of the urls
    served it.
    """
    if target.exists():
        found = _digest(target)
        if found != sha256:
            raise ValueError(
                f"{target} is not the published file: its SHA-256 is {found}, expected {sha256}; "
                "delete it to have it downloaded again"
            )
        return target
    part = target.with_name(target.name + ".part")
    reasons = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for url in [urls] if isinstance(urls, str) else urls:
            for _ in range(ATTEMPTS):
                try:
                    _continue(url, part, progress, timeout_s)
                except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
                    reasons.append(f"{url}: {getattr(error, 'reason', None) or error}")
                    continue
                found = _digest(part)
                if found == sha256:
                    os.replace(part, target)
                    return target
                part.unlink()  # wrong bytes cannot be continued
                reasons.append(f"{url}: served a file whose SHA-256 is {found}")
    except OSError as error:  # a full or read-only disk
        raise DownloadError(f"could not write {part}: {error}; set SCILAB_DATA to a folder with room") from error
    raise DownloadError(
        f"could not download {target.name} ({'; '.join(dict.fromkeys(reasons))}). Without a network, put the file with "
        f"SHA-256 {sha256} at {target}, or set SCILAB_DATA to the folder that holds it, and run this again"
    )


def _continue(url: str, part: Path, progress: Progress | None, timeout_s: float) -> None:
    """Append to `part` what of `url` is missing; raise ConnectionError if the server stops before its end."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(
        url, headers={"User-Agent": "scilab", **({"Range": f"bytes={have}-"} if have else {})}
    )
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing: the check of the contents decides
            return
        raise
    with response:
        if response.status != 206:  # a server without ranges sends everything again
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        with open(part, "ab" if have else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                have += len(block)
                if progress is not None:
                    progress(have, total)
        if total is not None and have < total:
            raise ConnectionError(f"the connection broke after {have} of {total} bytes")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
