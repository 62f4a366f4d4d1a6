"""A class-per-folder tree of photographs, decoded as it goes: ImageNet does not fit into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SUFFIXES = (".jpeg", ".jpg", ".png")


class Photographs(Dataset):
    """(image (3, size, size), label) of the files below `folder`/<class>/, classes by name.

    For training a random crop of 8 to 100 % of the area, mirrored half of the time; else the middle of the image scaled
    to 8/7 of `size` (Szegedy et al. 2015; the usual recipe for ImageNet).
    """

    def __init__(self, folder: Path, training: bool, size: int = 224) -> None:
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}; expected train/<class>/… and val/<class>/…")
        self.classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        self.files = [(file, label) for label, name in enumerate(self.classes)
                      for file in sorted((folder / name).rglob("*")) if file.suffix.lower() in SUFFIXES]  # fmt: skip
        if not self.files:
            raise ValueError(f"{folder} holds no images in class folders; expected {folder.name}/<class>/<image>.jpeg")
        self.training, self.size = training, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        file, label = self.files[number]
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        image = self._random(image) if self.training else self._middle(image)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
        return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None], label

    def _random(self, image: Image.Image) -> Image.Image:
        """Drawn from torch's stream, which a DataLoader's workers get from its seed."""
        area, log_ratio, left, up, flip = torch.rand(5).tolist()
        width, height = image.size
        target, ratio = width * height * (0.08 + 0.92 * area), (4 / 3) ** (2 * log_ratio - 1)
        w, h = min(width, round((target * ratio) ** 0.5)), min(height, round((target / ratio) ** 0.5))
        x, y = round(left * (width - w)), round(up * (height - h))
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR, (x, y, x + w, y + h))
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip < 0.5 else image

    def _middle(self, image: Image.Image) -> Image.Image:
        side = min(image.size) * 7 / 8
        x, y = ((length - side) / 2 for length in image.size)
        return image.resize((self.size, self.size), Image.Resampling.BILINEAR, (x, y, x + side, y + side))


def tree(path: str | Path, batch_size: int, workers: int, size: int = 224) -> tuple[DataLoader, DataLoader, int]:
    """(train, test, number of classes) of a folder with train/ and val/ in it; ValueError if they do not fit."""
    root = Path(path).expanduser()
    train, test = Photographs(root / "train", True, size), Photographs(root / "val", False, size)
    if train.classes != test.classes:
        differ = sorted(set(train.classes) ^ set(test.classes))
        raise ValueError(f"{root}: train and val hold different classes: {', '.join(differ[:3])}")
    given = {"batch_size": batch_size, "num_workers": workers, "pin_memory": torch.cuda.is_available()}
    return (DataLoader(train, shuffle=True, drop_last=True, **given), DataLoader(test, **given), len(train.classes))
