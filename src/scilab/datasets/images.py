"""Any tree of images with one folder per class, in a folder or straight from zip files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from .split import Split

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first of these that is there is the test part


def image_folder(
    path: str | Path | Sequence[str | Path],
    size: int | tuple[int, int] | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Split:
    """Images in folders named after their class: `<class>/<image>`, or that inside `train/` and `test/`.

    `path` is a folder, a zip file (read directly, nothing is unpacked) or several of either taken together.
    Outer folders around the tree are ignored, as are hidden files and files that are no images. Classes and
    images are sorted by name. Without both a training and a test folder (`test` or else `val`),
    `test_fraction` of each class (at least one image) is drawn from `seed` for the test part.

    Images are grey (1 channel) if all are, else RGB; 16-bit grey is scaled by its range, transparency is
    dropped. `size` (pixels, one number or (height, width)) rescales every image bilinearly; without it all
    must have one size.
    """
    sources = [Path(one).expanduser() for one in ([path] if isinstance(path, str | Path) else path)]
    name = ", ".join(source.name for source in sources)
    if not 0.0 < test_fraction < 1.0:
        raise ValueError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    height_width = _height_width(size)
    with ExitStack() as stack:
        files: dict[PurePosixPath, object] = {}
        for source in sources:
            for file, content in _files(source, stack):
                if file in files:
                    raise ValueError(f"{file} is in {source} and in another source; a file may come once")
                files[file] = content
        files = dict(sorted(files.items(), key=lambda entry: entry[0]))
        if not files:
            raise ValueError(f"{name} holds no images; expected <class>/<image> with one of {', '.join(SUFFIXES)}")
        parts = _layout(name, list(files))
        classes = tuple(sorted({label for part in parts.values() for _, label in part}))
        channels, loaded = 1, {}
        for part, entries in parts.items():
            loaded[part] = [(file, _decode(file, files[file], height_width)) for file, _ in entries]
            channels = max([channels, *(3 if pixels.ndim == 3 else 1 for _, pixels in loaded[part])])
    if "test" in loaded:
        where = {part: range(len(entries)) for part, entries in loaded.items()}
    else:
        where = _draw_test(name, [label for _, label in parts["train"]], test_fraction, seed)
        loaded["test"], parts["test"] = loaded["train"], parts["train"]
    pairs = []
    for part in ("train", "test"):
        labels = [classes.index(parts[part][row][1]) for row in where[part]]
        pairs.append((_stack([loaded[part][row] for row in where[part]], channels), torch.tensor(labels)))
    return Split(name=name, train=pairs[0], test=pairs[1], classes=classes)


def _height_width(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ValueError(f"size must be a positive number of pixels or (height, width), got {size!r}")
    return pair


def _files(source: Path, stack: ExitStack) -> Iterator[tuple[PurePosixPath, object]]:
    """Yield (path inside the source, something with read_bytes) of every visible image."""
    if source.is_dir():
        found = (
            (PurePosixPath(file.relative_to(source).as_posix()), file) for file in source.rglob("*") if file.is_file()
        )
    elif zipfile.is_zipfile(source):
        archive = stack.enter_context(zipfile.ZipFile(source))
        found = (
            (PurePosixPath(entry.filename), zipfile.Path(archive, entry.filename))
            for entry in archive.infolist()
            if not entry.is_dir()
        )
    else:
        raise ValueError(f"{source} is neither a folder nor a zip file")
    for file, content in found:
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in file.parts)
        if not hidden and file.suffix.lower() in SUFFIXES:
            yield file, content


def _layout(name: str, files: list[PurePosixPath]) -> dict[str, list[tuple[PurePosixPath, str]]]:
    """Sort files into {"train": [(file, class), …]} and, where the tree has such folders, "test"."""
    depth = 0
    while True:
        tops = {file.parts[depth] for file in files if len(file.parts) > depth + 1}
        only = len(tops) == 1 and all(len(file.parts) > depth + 2 for file in files)
        if not only or next(iter(tops)).lower() in TRAIN + TEST:
            break
        depth += 1
    folders = {top.lower(): top for top in tops}
    train = next((folders[word] for word in TRAIN if word in folders), None)
    test = next((folders[word] for word in TEST if word in folders), None)
    # a class may be called "train" (vehicles): a folder names a part only if folders of classes lie in it
    named = set(folders) <= set(TRAIN + TEST) and all(len(file.parts) > depth + 2 for file in files)
    parts: dict[str, list[tuple[PurePosixPath, str]]] = {}
    for file in files:
        inner = file.parts[depth:]
        part = "train"
        if named:
            if inner[0] not in (train, test):
                continue
            part = "test" if inner[0] == test and train is not None else "train"
            inner = inner[1:]
        if len(inner) < 2:
            raise ValueError(f"{name}: {file} lies in no class folder; expected <class>/<image>")
        parts.setdefault(part, []).append((file, inner[0]))
    return parts


def _decode(file: PurePosixPath, content: object, height_width: tuple[int, int] | None) -> np.ndarray:
    """One image as (height, width) uint8 or uint16, or (height, width, 3) uint8."""
    try:
        with Image.open(io.BytesIO(content.read_bytes())) as image:
            mode = image.mode
            if mode in ("I", "F"):
                raise ValueError(f"{file} holds {mode} pixels (32 bits) of unknown range; save it with 8 or 16 bits")
            if mode in ("1", "LA", "La"):
                image = image.convert("L")
            elif mode not in ("L", "RGB") and not mode.startswith("I;16"):
                image = image.convert("RGB")
            if height_width is not None and image.size != height_width[::-1]:
                image = image.resize(height_width[::-1], Image.Resampling.BILINEAR)
            return np.array(image)
    except (UnidentifiedImageError, OSError, SyntaxError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} is not a readable image ({error}); remove or replace it") from error


def _draw_test(name: str, labels: list[str], fraction: float, seed: int) -> dict[str, list[int]]:
    """Draw round(fraction · count), at least one and never all, of every class for the test part."""
    rng = np.random.default_rng(seed)
    test: set[int] = set()
    for label in sorted(set(labels)):
        rows = [row for row, other in enumerate(labels) if other == label]
        if len(rows) < 2:
            raise ValueError(f"{name}: class {label!r} has one image; drawing a test part needs at least two per class")
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        test.update(int(row) for row in rng.choice(rows, size=count, replace=False))
    return {"train": [row for row in range(len(labels)) if row not in test], "test": sorted(test)}


def _stack(entries: list[tuple[PurePosixPath, np.ndarray]], channels: int) -> torch.Tensor:
    first, example = entries[0]
    height, width = example.shape[:2]
    images = np.empty((len(entries), channels, height, width), dtype=np.float32)
    for row, (file, pixels) in enumerate(entries):
        if pixels.shape[:2] != (height, width):
            raise ValueError(
                f"images differ in size: {first} is {height}×{width} pixels, {file} {pixels.shape[0]}×"
                f"{pixels.shape[1]}; give size= to rescale them"
            )
        images[row] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        images[row] /= np.iinfo(pixels.dtype).max
    return torch.from_numpy(images)
