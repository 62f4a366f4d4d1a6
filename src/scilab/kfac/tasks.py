"""Work to run: a model, its loss and likelihood, and data. Named ones here, or any of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..datasets import cifar10, digits, image_folder
from ..models import build
from .data import crop_and_flip
from .likelihood import LIKELIHOODS
from .networks import MASK, MaskedLM, UNet, autoencoder, digits_cnn

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained. `model` has the weights that all racers begin with.

    loss: of (outputs, targets), a mean over the rows of a batch. likelihood, class_dim: as `KFAC` takes them.
    train, test: pairs of tensors (inputs, targets) or loaders, see `data.Batches`.
    hits: how many answers of (outputs, targets) are right, None where there is no such thing; an example has `marks`
        answers.
    augment: of (inputs, generator), for training batches.
    threads: of a processor, for a race in one process; None leaves torch's number. For models this small more than one
        cost time, on a busy machine ten times over.
    """

    name: str
    model: nn.Module
    loss: Loss
    train: Any
    test: Any
    likelihood: str = "categorical"
    class_dim: int | None = None
    hits: Loss | None = None
    marks: int = 1
    batch_size: int = 128
    augment: Callable | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}, got {self.likelihood!r}")
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(f"batch_size must be a whole number from 1, got {self.batch_size!r}")

    @property
    def fisher(self) -> dict[str, Any]:
        """What K-FAC has to know of the outputs."""
        return {"likelihood": self.likelihood, "class_dim": self.class_dim}


def half_squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Half the squared distance, a mean over the rows."""
    return (outputs - targets).square().flatten(1).sum(1).mean() / 2


def right_classes(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """How many rows have the largest logit at their class."""
    return (outputs.argmax(-1) == targets).sum()


def pixel_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy, summed over the pixels of an image, a mean over the images."""
    return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="sum") / len(outputs)


def token_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, a mean over the masked tokens."""
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def digits_autoencoder(seed: int = 0) -> Task:
    """The 8×8 digits through a code of 12 numbers; values in [-1, 1], half the squared error of an image."""
    data = digits()
    train, test = ((part[0] * 2 - 1).flatten(1) for part in (data.train, data.test))
    model = _seeded(seed, autoencoder)
    return Task("digits_autoencoder", model, half_squared_error, (train, train), (test, test), "gaussian",
                batch_size=256, threads=1)  # fmt: skip


def digits_classes(seed: int = 0) -> Task:
    """The 8×8 digits by a small convolutional network."""
    data = digits()
    train, test = ((images * 2 - 1, labels) for images, labels in (data.train, data.test))
    return Task("digits_cnn", _seeded(seed, digits_cnn), functional.cross_entropy, train, test, hits=right_classes,
                batch_size=64, threads=1)  # fmt: skip


def cifar(depth: int, seed: int = 0, path: str | Sequence[str] = "") -> Task:
    """ResNet-8, -20 or -32 on CIFAR-10 (He et al. 2016, section 4.2): downloaded and checked once, or a tree of class
    folders at `path`, zip files too.
    """
    data = image_folder(path, size=32) if path else cifar10()
    mean, std = (getattr(data.train[0], what)((0, 2, 3))[:, None, None] for what in ("mean", "std"))
    train, test = (((images - mean) / std, labels) for images, labels in (data.train, data.test))
    model = build(f"resnet{depth}", data.shape, len(data.classes), seed)
    return Task(f"resnet{depth}", model, functional.cross_entropy, train, test, hits=right_classes,
                augment=crop_and_flip)  # fmt: skip


def unet(seed: int = 0) -> Task:
    """Where in a noisy picture of 16×16 pixels is the digit? Each of the digits, at a place drawn from the seed, under
    noise and beside stray strokes; the U-Net says for each pixel whether it is the digit's.
    """
    data = digits()
    parts = (_cluttered(images[:, 0], torch.Generator().manual_seed(seed + place))
             for place, (images, _) in enumerate((data.train, data.test)))  # fmt: skip
    train, test = parts
    return Task("unet", _seeded(seed, UNet), pixel_error, train, test, "bernoulli", hits=_right_pixels, marks=256,
                batch_size=64, threads=1)  # fmt: skip


def _right_pixels(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return ((outputs > 0) == (targets > 0.5)).sum()


def _cluttered(images: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    n = len(images)
    scenes, masks = torch.zeros(n, 16, 16), torch.zeros(n, 16, 16)
    places = torch.randint(0, 9, (n, 2), generator=generator).tolist()
    lines = torch.randint(0, 16, (n, 2), generator=generator).tolist()
    for image, scene, mask, (up, left), (row, column) in zip(images, scenes, masks, places, lines, strict=True):
        scene[row], scene[:, column] = 0.6, 0.6
        scene[up : up + 8, left : left + 8] = image
        mask[up : up + 8, left : left + 8] = (image > 0.3).float()
    scenes += 0.3 * torch.randn(scenes.shape, generator=generator)
    return scenes[:, None], masks


_FORMS = {  # of the singular, of the plural
    "determiner": (["the", "a", "this", "that"], ["the", "these", "those"]),
    "noun": (["cat", "dog", "bird", "child", "house"], ["cats", "dogs", "birds", "children", "houses"]),
    "verb": (["sees", "likes", "finds", "follows"], ["see", "like", "find", "follow"]),
}
_SMALL = ["small", "old", "black", "quiet", "often", "never"]
WORDS = ["[mask]", ".", *dict.fromkeys(word for pair in _FORMS.values() for form in pair for word in form), *_SMALL]
TOKENS, MASKED = 12, 3


def masked_lm(seed: int = 0, rows: int = 4096) -> Task:
    """Guess masked words of sentences such as “these small dogs often follow the cat .”: a grammar in which nouns agree
    with determiners and verbs, so that the words around a gap say much about it. Twelve tokens a row, three masked.
    """
    generator = torch.Generator().manual_seed(seed)
    text = torch.stack([_sentences(generator) for _ in range(rows + rows // 4)])
    gaps = torch.rand(text.shape, generator=generator).argsort(1)[:, :MASKED].sort(1).values
    answers = text.gather(1, gaps)
    text = text.scatter(1, gaps, MASK)
    train, test = (text[:rows], answers[:rows]), (text[rows:], answers[rows:])
    model = _seeded(seed, lambda: MaskedLM(len(WORDS), TOKENS))
    return Task("masked_lm", model, token_error, train, test, class_dim=-1, hits=right_classes, marks=MASKED,
                threads=1)  # fmt: skip


def _sentences(generator: torch.Generator) -> torch.Tensor:
    def pick(options: Sequence[str]) -> str:
        return options[int(torch.randint(len(options), (), generator=generator))]

    def noun_phrase(number: int) -> list[str]:
        adjective = [pick(_SMALL[:4])] if pick("yn") == "y" else []
        return [pick(_FORMS["determiner"][number]), *adjective, pick(_FORMS["noun"][number])]

    words: list[str] = []
    while len(words) < TOKENS:
        number, other = int(pick("01")), int(pick("01"))
        adverb = [pick(_SMALL[4:])] if pick("yn") == "y" else []
        words += [*noun_phrase(number), *adverb, pick(_FORMS["verb"][number]), *noun_phrase(other), "."]
    return torch.tensor([WORDS.index(word) for word in words[:TOKENS]])


def imagenet(path: str | Path, seed: int = 0, batch_size: int = 32, workers: int = 8) -> Task:
    """ResNet-50 on ImageNet, a class-per-folder tree at `path` (train/<class>/…, val/<class>/…), decoded as it goes.

    The recipe of J. G. Pauloski et al. (SC20): batch 32 a rank, 55 epochs, lr 0.0125 a rank with warm-up, weight decay
    5e-5, label smoothing 0.1, damping 0.001, factors every 10 steps, decompositions every 100. Not run here: it wants
    a machine and a copy of ImageNet that we have not.
    """
    from .imagenet import tree

    train, test, classes = tree(path, batch_size, workers)
    model = build("resnet50", (3, 224, 224), classes, seed)
    return Task("imagenet", model, nn.CrossEntropyLoss(label_smoothing=0.1), train, test, hits=right_classes,
                batch_size=batch_size)  # fmt: skip


def _seeded(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


TASKS: dict[str, Callable[..., Task]] = {
    "digits_autoencoder": digits_autoencoder,
    "digits_cnn": digits_classes,
    "resnet8": lambda seed=0, path="": cifar(8, seed, path),
    "resnet20": lambda seed=0, path="": cifar(20, seed, path),
    "resnet32": lambda seed=0, path="": cifar(32, seed, path),
    "unet": unet,
    "masked_lm": masked_lm,
    "imagenet": lambda seed=0, path="": imagenet(path, seed),
}
"""Work by name; each takes a seed, and those on photographs the `path` (or paths) of a class-per-folder tree."""
