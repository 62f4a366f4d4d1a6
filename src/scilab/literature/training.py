"""A recogniser trained from labels, as an iterator of records."""

from __future__ import annotations

import contextlib
import math
import queue
import random
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar

import torch

from .augmentation import augmented, drug_free
from .calibration import Bin, Calibration, reliability
from .label_store import LabelStore
from .lessons import Lesson, lessons, to_doc, without_doubt
from .lots import in_lots
from .network import blank_network, initialise, learn, reseed
from .optimizer_state import optimizer_of, restore, snapshot
from .recogniser import Recogniser
from .scoring import Scores, names, places, score
from .split import held_out
from .tasks import Task

LEARNING_RATE, DROPOUT = 0.002, 0.15
FEWEST_WORDS, MOST_WORDS, STEPS = 60, 800, 20
"""Words in a batch: few labels are learned in smaller ones, so that an epoch has about so many steps."""
EXCHANGE, STRETCHES = 0.3, 0.5
APART = 1_000_003
"""Between the seeds of two networks of one training, so that trainings of near seeds share none."""


@dataclass(frozen=True)
class TrainingStarted:
    """What there is to learn from. `doubtful` words of known names are unmarked and taken as unknown; `unheld` spans
    are such that no sequence of tokens is one.
    """

    texts: int
    spans: int
    dev_texts: int
    dev_spans: int
    doubtful: int
    unheld: int


@dataclass(frozen=True)
class EpochFinished:
    """An epoch ended: mean loss a text, and the scores on the development texts (None if there are none, or a score is
    0 / 0). `best` is the epoch kept so far. `seconds` are of this epoch, without pauses.
    """

    checkpoint: ClassVar[bool] = True
    advances: ClassVar[bool] = True

    epoch: int
    loss: float
    precision: float | None
    recall: float | None
    f1: float | None
    unseen_recall: float | None
    false_per_1000_words: float | None
    best: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Result:
    """The recogniser of the best epoch, how it scores on the development texts (on which the epoch was chosen: a test
    of its own texts will be a little lower), and how far its scores can be trusted there.
    """

    recogniser: Recogniser
    epoch: int
    dev: Scores | None
    reliability: tuple[Bin, ...]


class Training:
    """Trains a recogniser from scratch on all labels.

    `examples` are answered tasks or a `LabelStore`; what the answers mean is said in `lessons`. `dev` are tasks to
    choose the epoch by, or the share of the examples that is held out for that, frozen by a hash: by paper where there
    are ids, else by text. `negatives` are texts known to hold no span, which are added; by default our own, if DRUG is
    the only label. `clean` takes unmarked occurrences of names that are mostly marked as unknown. Of `networks`,
    trained side by side from different random numbers, more than two thirds must find a span: three are more precise
    than one, find fewer names that they never saw, and take three times as long to train and to read.

    Iterate to run: yields `TrainingStarted`, then an `EpochFinished` each. The same arguments give the same bits, also
    when it is stopped and goes on from a `state_dict`, whatever else the process does.

    Raises:
        ValueError: an argument that makes no sense, or no positive label to train from.
    """

    kind = "training"

    def __init__(
        self, examples: LabelStore | Iterable[Task], *, labels: Sequence[str] | None = None,
        dev: Sequence[Task] | float = 0.15, epochs: int = 8, seed: int = 0, negatives: Sequence[str] | None = None,
        clean: bool = True, networks: int = 1,
    ) -> None:  # fmt: skip
        if isinstance(examples, LabelStore):
            labels = examples.labels if labels is None else labels
            examples = [answer.as_task for answer in examples.answered()]
        tasks = [task for task in examples if task.answer != "ignore"]
        self.labels = tuple(dict.fromkeys(labels or (span.label for task in tasks for span in task.spans)))
        if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
            raise ValueError(f"epochs must be a whole number from 1, got {epochs!r}")
        if not isinstance(networks, int) or isinstance(networks, bool) or networks < 1:
            raise ValueError(f"networks must be a whole number from 1, got {networks!r}")
        if isinstance(dev, float | int):
            if isinstance(dev, bool) or not 0 <= dev < 1:
                raise ValueError(f"dev is the share of texts held out, from 0 and below 1, or tasks; got {dev!r}")
            self._share = dev
            train, held = held_out(tasks, dev)
        else:
            self._share, held = None, list(dev)
            texts = {task.text for task in held}
            train = [task for task in tasks if task.text not in texts]
        self._dev = [task for task in held if task.answer in (None, "accept")]
        self._judges = any(task.spans for task in self._dev)  # else no epoch is better than the last
        if not any(task.spans for task in train if task.answer in (None, "accept")):
            raise ValueError(
                f"there is no positive label to train from: of {len(tasks)} answered texts none that was accepted "
                f"holds a span of {', '.join(self.labels) or 'any label'}; mark some and accept them"
            )
        if negatives is None:
            negatives = drug_free() if self.labels == ("DRUG",) else ()
        self.total, self.seed, self.clean, self._negatives = epochs, seed, clean, tuple(negatives)
        self.networks = networks
        self._lessons: list[Lesson] = lessons(train, self.labels)
        self._known = names(task for task in train if task.answer != "reject")
        told = repr([sorted(map(repr, each)) for each in (train, self._dev)])
        self.digest = blake2b(told.encode(), digest_size=8).hexdigest()
        self._state: dict[str, Any] = {"epoch": 0, "of": self._of}
        self._inbox: queue.SimpleQueue = queue.SimpleQueue()
        self._records = None  # weakly: a loop that is left with `break` ends the run
        self._made: tuple[int, Result] | None = None

    @property
    def _of(self) -> str:
        """What a state belongs to."""
        return f"{self.digest} {self.seed} {self.clean} {self.labels} {len(self._negatives)} {self.networks}"

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON that says what this training was given."""
        return {
            "examples": {"texts": len(self._lessons), "dev": len(self._dev), "digest": self.digest},
            "labels": list(self.labels),
            "dev": self._share,
            "epochs": self.total,
            "seed": self.seed,
            "negatives": len(self._negatives),
            "clean": self.clean,
            "networks": self.networks,
        }

    def __iter__(self) -> Iterator[TrainingStarted | EpochFinished]:
        """Train, from where the state is."""
        self._must_rest("iterating again")
        records = self._run()
        self._records = weakref.ref(records)
        return records

    def _run(self) -> Iterator[TrainingStarted | EpochFinished]:
        try:
            members = [(self._network(number), optimizer_of(LEARNING_RATE)) for number in range(self.networks)]
            nlp = members[0][0]
            learned, doubtful = without_doubt(self._lessons, nlp) if self.clean else (self._lessons, 0)
            if self._state["epoch"]:
                for number, member in enumerate(members):
                    restore(*member, self._state["networks"][str(number)])
            else:
                unheld = sum(to_doc(nlp, each)[1] for each in learned)
                spans, dev = sum(len(each.spans) for each in learned), sum(len(task.spans) for task in self._dev)
                yield TrainingStarted(len(learned), spans, len(self._dev), dev, doubtful, unheld)
            while self._state["epoch"] < self.total:
                record = self._epoch(members, learned)
                if record is None:
                    return
                yield record
        finally:
            self._records = None

    def _network(self, number: int) -> Any:
        nlp = blank_network(self.labels)
        initialise(nlp, self.seed + number * APART)
        return nlp

    def _epoch(self, members: list[tuple[Any, Any]], learned: list[Lesson]) -> EpochFinished | None:
        """One epoch of every network, and its record; None if somebody said stop, then nothing of it is kept."""
        epoch, loss = self._state["epoch"] + 1, 0.0
        began, paused_s = time.monotonic(), 0.0
        for number, (nlp, optimizer) in enumerate(members):
            told = self._one_network(nlp, optimizer, learned, self.seed + number * APART, epoch)
            if told is None:
                return None
            loss, paused_s = loss + told[0] / len(members), paused_s + told[1]
        with contextlib.ExitStack() as averaged:
            for nlp, optimizer in members:
                averaged.enter_context(nlp.get_pipe("ner").model.use_params(optimizer.averages))
            recogniser = Recogniser([nlp for nlp, _ in members])
            scores = score(recogniser.find, self._dev, self._known) if self._dev else None
            kept = {key: self._state[key] for key in ("best", "best_f1", "kept") if key in self._state}
            if not self._judges or not kept or scores.f1 > kept["best_f1"]:
                f1 = scores.f1 if self._judges else 0.0
                kept = {"best": epoch, "best_f1": f1, "kept": _tensor(recogniser.to_bytes())}
        networks = {str(number): snapshot(*member) for number, member in enumerate(members)}
        self._state = {"epoch": epoch, "of": self._of, **kept, "networks": networks}
        seconds = time.monotonic() - began - paused_s
        return EpochFinished(epoch, loss, *_told(scores), best=kept["best"], seconds=seconds)

    def _one_network(
        self, nlp: Any, optimizer: Any, learned: list[Lesson], seed: int, epoch: int
    ) -> tuple[float, float] | None:
        """(mean loss a text, seconds paused) of an epoch of one network; None if somebody said stop."""
        loss, paused_s, rng = 0.0, 0.0, random.Random(f"{seed} epoch {epoch}")
        reseed(nlp, seed, epoch)
        made = augmented(learned, rng, exchange=EXCHANGE, stretches=STRETCHES, empty=self._negatives)
        docs = [to_doc(nlp, each)[0] for each in made]
        size = min(MOST_WORDS, max(FEWEST_WORDS, sum(map(len, docs)) // STEPS))
        for batch in in_lots(docs, size):
            stopped, waited_s = self._asked()
            if stopped:
                return None
            paused_s += waited_s
            loss += learn(nlp, batch, optimizer, DROPOUT)
        return loss / len(docs), paused_s

    def _asked(self) -> tuple[bool, float]:
        """Obey what was sent, waiting while paused: (whether to stop, seconds waited)."""
        began, paused = time.monotonic(), False
        while paused or not self._inbox.empty():
            command = self._inbox.get()
            if command == "stop":
                return True, 0.0
            paused = command == "pause"
        return False, time.monotonic() - began

    def _must_rest(self, before: str) -> None:
        if self._records is not None and self._records() is not None:
            raise RuntimeError(f"this training is running; stop it before {before}")

    def send(self, command: str) -> None:
        """Pause, resume or stop; from any thread, also before the start. Obeyed between two batches of text."""
        if command not in ("pause", "resume", "stop"):
            raise ValueError(f"a training understands 'pause', 'resume' and 'stop', got {command!r}")
        self._inbox.put(command)

    def state_dict(self) -> dict[str, Any]:
        """After the last finished epoch: tensors of the network, of Adam and of the best epoch's recogniser."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back, or on, to a `state_dict`; ValueError if it belongs to other labels, texts or settings."""
        self._must_rest("loading a state")
        if state.get("of") != self._of:
            raise ValueError("this state is of a training on other labels or with other settings; begin anew")
        self._state = dict(state)

    @property
    def result(self) -> Result | None:
        """Of the best epoch so far; None before the first has ended."""
        state = self._state
        if not state["epoch"]:
            return None
        if self._made is None or self._made[0] != state["best"]:
            self._made = state["best"], self._finish(state)
        return self._made[1]

    def _finish(self, state: Mapping[str, Any]) -> Result:
        recogniser = Recogniser.from_bytes(state["kept"].numpy().tobytes())
        if not self._dev:
            return Result(recogniser, state["best"], None, ())
        raw, right, groups = [], [], []
        for number, (task, found) in enumerate(
            zip(self._dev, recogniser.candidates([task.text for task in self._dev], 0.0), strict=True)
        ):
            there = places(task.spans)
            raw += [each.score for each in found]
            right += [(each.start, each.end, each.label) in there for each in found]
            groups += [number] * len(found)
        table = reliability(raw, right, groups) if raw else ()
        recogniser = Recogniser(recogniser.networks, Calibration.fit(raw, right))
        return Result(recogniser, state["best"], score(recogniser.find, self._dev, self._known), table)

    def close(self) -> None:
        """Stop if it runs. Idempotent."""
        records = self._records and self._records()
        if records is not None:
            self.send("stop")
            with contextlib.suppress(ValueError):  # a thread is inside and ends by the stop
                records.close()


def _tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _told(scores: Scores | None) -> tuple[float | None, ...]:
    if scores is None:
        return (None,) * 5
    values = (scores.precision.value, scores.recall.value, scores.f1, scores.unseen.value, scores.false_per_1000_words)
    return tuple(None if math.isnan(value) else value for value in values)
