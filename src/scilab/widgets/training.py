"""`TrainingWidget`: train a recogniser from answers, see what each answer is worth, and what the model gets wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scilab.literature import Answer, LabelStore, Recogniser, Task, Training, sample_tasks
from scilab.literature.augmentation import drug_free
from scilab.literature.split import held_out

from . import training_picture
from .acting import Launched
from .browser import file_stem
from .estimate import Estimate
from .fields import Choice, Number, Text, Toggle
from .label import arm_of
from .panel import HERE, Panel
from .picture import chart, with_point

SAMPLE = "sample"
WORD_S = 2.5e-4  # of training, for each word and epoch, on one 2.9 GHz core (measured; an estimate)
START_S = 1.5
MEMORY_BYTES = 250e6
ERRORS = 30  # texts


def _project(text: str) -> None:
    if text != SAMPLE and not Path(text).expanduser().is_file():
        raise ValueError(f"There is no project at “{text}”. Give the file of a LabelStore, or “{SAMPLE}”.")


class TrainingWidget(Panel):
    """Training live: ``TrainingWidget()`` sets everything by hand, ``TrainingWidget(run)`` shows and steers a run,
    ``TrainingWidget(training)`` launches one built in code. See `Panel` for what it does without a page.
    """

    title = "Train"
    kind = "training"
    unit = "epochs"
    module = HERE / "training.js"
    _css = Panel._css + (HERE / "literature.css").read_text(encoding="utf-8")
    fields = (
        Text(name="project", label="Project", group="Labels", default=SAMPLE, check=_project, placeholder="labels.db",
             help=f"The file of a LabelStore; “{SAMPLE}” is the labelled sample that comes with scilab."),
        Choice(name="texts", label="Texts", group="Labels", default="all",
               options=(("all", "All that are answered"), ("random", "The random arm only")),
               help="The random arm are the texts that were not chosen by the policy. A model of these alone, at as "
                    "many words read, is what the policy has to beat.",
               reasons=lambda values: {"random": "The sample has no arms."} if values["project"] == SAMPLE else {}),
        Number(name="dev", label="Held out", group="Labels", default=0.2, minimum=0, maximum=0.5, step=0.05,
               unit="share of papers", help="Never trained on: by these the best epoch is chosen and F1 is told. "
                                            "Frozen by a hash, so the same text is held out every time."),
        Toggle(name="clean", label="Doubt gaps", group="Labels", default=True,
               help="Names that are marked nearly everywhere count as unknown where they are not, not as wrong."),
        Number(name="epochs", label="Epochs", group="Training", default=6, minimum=1, maximum=200, integer=True,
               help="Passes over the texts; the best one is kept."),
        Number(name="networks", label="Networks", group="Training", default=1, minimum=1, maximum=15, integer=True,
               help="More than two thirds must agree: more precise, fewer new names found, and as many times slower."),
        Number(name="negatives", label="Drug-free texts", group="Training", default=40, minimum=0,
               maximum=len(drug_free()), integer=True,
               help="Paragraphs of our own that name no drug, added so that the model learns to be silent."),
        Number(name="seed", label="Seed", group="Training", default=0, minimum=0, maximum=2**31, integer=True,
               help="Of the initial weights and the order of the texts."),
    )  # fmt: skip
    _errors: tuple = ("", [])
    _curve: tuple = ((), {})

    def check(self, values: Mapping) -> Mapping[str, str]:
        try:
            self._training(values)
        except (ValueError, OSError) as error:
            return {"project": str(error)[:1].upper() + str(error)[1:]}
        return {}

    def estimate(self, values: Mapping) -> Estimate:
        if self._form.errors:
            return Estimate()
        read = _words(task for _, task, _ in answers(values)[0]) + 15 * values["negatives"]
        seconds = START_S + values["networks"] * values["epochs"] * (0.15 + WORD_S * read)
        return Estimate(seconds, MEMORY_BYTES, note=f"{len(answers(values)[0]):,} answered texts.")

    def build(self, values: Mapping) -> Any:
        training, read = self._training(values)
        launched = Launched(training, values)
        launched.settings |= {"words": read}
        return launched

    def _training(self, values: Mapping) -> tuple[Training, int]:
        """The training, and how many words of answered texts it learns from."""
        given, labels = answers(values)
        tasks = [task for _, task, _ in given]
        dev: Any = values["dev"]
        if values["texts"] == "random":  # held out as from all, so that both arms are judged by the same texts
            dev = held_out(tasks, values["dev"])[1]
            tasks = [task for arm, task, _ in given if arm == "random"]
        training = Training(tasks, labels=labels, dev=dev, epochs=values["epochs"], seed=values["seed"],
                            negatives=drug_free()[:values["negatives"]], clean=values["clean"],
                            networks=values["networks"])  # fmt: skip
        return training, _words(tasks)

    def begin(self, settings: Mapping) -> dict:
        return training_picture.begin(settings)

    def draw(self, records: list[dict], picture: dict) -> dict:
        return training_picture.draw(records, picture)

    def extra(self) -> dict:
        id, errors = self._errors
        mine = self._run is not None and id == self._run.id
        return {"curve": self._learning_curve(), "errors": errors if mine else [],
                "can_review": self._run is not None and self._run.progress["done"] > 0}

    def saves(self) -> list[dict]:
        why = "The recogniser of the best epoch, for Recogniser.load"
        return [{"label": "Model", "why": why, "action": "download", "args": {"what": "model"}}, *super().saves()]

    def script(self, values: Mapping) -> str:
        if self._form.errors:
            return ""
        where = "list(sample_tasks())" if values["project"] == SAMPLE else f"LabelStore({values['project']!r})"
        name = "sample_tasks" if values["project"] == SAMPLE else "LabelStore"
        return f"""\
from scilab.literature import {name}, Training
from scilab.literature.augmentation import drug_free
from scilab.runs import Run

training = Training({where}, dev={values["dev"]}, epochs={values["epochs"]},
                    negatives=drug_free()[:{values["negatives"]}], clean={values["clean"]},
                    networks={values["networks"]}, seed={values["seed"]})
run = Run(training).start()  # in a script: for record in training: …
run.wait()
run.result.recogniser.save("drugs.model")
"""

    # ---- what a click does

    def do_download(self, what: str = "model") -> dict:
        """Send the page the ``model``."""
        data = self.recogniser().to_bytes()
        self._send_file(what, f"{file_stem(self._run)}.model", data)
        return {"bytes": len(data)}

    def do_errors(self) -> None:
        """List the texts of which the model says something else than the person did."""
        values = self.values_of(self._settings)
        if self._run is None or values is None:
            raise ValueError("Train on a project first: then its answers and the model can be compared.")
        self._errors = (self._run.id, errors(self.recogniser(), values))

    def recogniser(self) -> Recogniser:
        """The model of the run shown, after its best epoch. ValueError if there is none yet."""
        if self._live and getattr(self._run, "result", None) is not None:
            return self._run.result.recogniser
        state = self.journal.checkpoint(self._run.id) if self._run is not None else None
        if state is None or "kept" not in state:
            raise ValueError("There is no model yet: no epoch has finished.")
        return Recogniser.from_bytes(state["kept"].numpy().tobytes())

    def _learning_curve(self) -> dict:
        """F1 by words read, a point for each finished training of the project, a series for each arm."""
        project = (self.values_of(self._settings) or self.values)["project"]
        mine = [run for run in self._stored if run.kind == self.kind and run.status == "finished"]
        key = (project, *(run.id for run in mine))
        if key != self._curve[0]:
            drawn = chart("Learning curve", "words read", "F1, held out")
            points = []
            for run in mine:
                values = run.settings.get("values") or {}
                told = [record["f1"] or 0.0 for record in run.records() if record["kind"] == "EpochFinished"]
                if values.get("project") == project and told:
                    points.append((run.settings["words"], max(told), values["texts"]))
            for read, best, arm in sorted(points):
                drawn = with_point(drawn, {"all": "all texts", "random": "random arm"}[arm], read, best)
            self._curve = (key, drawn)
        return self._curve[1]


def answers(values: Mapping) -> tuple[list[tuple[str, Task, int]], tuple[str, ...]]:
    """[(arm, answered task, hash of the task that was asked)] of a project, and its labels."""
    if values["project"] == SAMPLE:
        return [("random", task, task.task_hash) for task in sample_tasks()], ("DRUG",)
    with LabelStore(values["project"]) as store:
        given: list[Answer] = [answer for answer in store.answered() if answer.answer != "ignore"]
        return [(arm_of(each.answer_id), each.as_task, each.task.task_hash) for each in given], store.labels


def errors(recogniser: Recogniser, values: Mapping) -> list[dict]:
    """Texts that were accepted with other spans than the model finds, those with most differences first."""
    given = [(task, asked) for _, task, asked in answers(values)[0] if task.answer == "accept"]
    tasks = [task for task, _ in given]
    kept_out = {task.text for task in held_out(tasks, values["dev"])[1]}
    found = []
    for (task, asked), spans in zip(given, recogniser.find([task.text for task in tasks], scores=True), strict=True):
        there = {(span.start, span.end, span.label) for span in task.spans}
        here = {(span.start, span.end, span.label): span.score for span in spans}
        missed = [{"text": task.text[start:end], "label": label} for start, end, label in sorted(there - here.keys())]
        extra = [{"text": task.text[s:e], "label": label, "score": round(here[s, e, label], 2)}
                 for s, e, label in sorted(here.keys() - there)]  # fmt: skip
        if missed or extra:
            found.append({"hash": asked, "text": task.text, "missed": missed, "extra": extra,
                          "held_out": task.text in kept_out})  # fmt: skip
    found.sort(key=lambda each: (not each["held_out"], -len(each["missed"]) - len(each["extra"])))
    return found[:ERRORS]


def _words(tasks: Any) -> int:
    return sum(len(task.text.split()) for task in tasks)
