"""`KFACWidget`: race K-FAC against first-order optimizers, watch its curvature, change it while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import kfac_picture
from .estimate import Estimate
from .federation import CORES
from .fields import Choice, Number, Text, Toggle
from .panel import HERE, Panel

TASKS = {
    "digits_autoencoder": "Digits, autoencoder", "digits_cnn": "Digits, small CNN", "resnet8": "CIFAR-10, ResNet-8",
    "resnet20": "CIFAR-10, ResNet-20", "resnet32": "CIFAR-10, ResNet-32", "unet": "Noisy digits, U-Net",
    "masked_lm": "Sentences, masked LM", "imagenet": "ImageNet, ResNet-50",
}
ROWS = {"digits_autoencoder": 1437, "digits_cnn": 1437, "unet": 1437, "masked_lm": 4096, "imagenet": 1_281_167}
STEP_S = {  # on one 2.9 GHz core: of a step without K-FAC, of each row, and by how much K-FAC takes longer (estimates)
    "digits_autoencoder": (1.2e-3, 2e-6, 5.0), "digits_cnn": (0.8e-3, 5e-5, 2.2), "unet": (2e-3, 2.5e-4, 1.7),
    "masked_lm": (4e-3, 5e-5, 2.0), "resnet8": (1e-3, 1.4e-3, 1.3), "resnet20": (3e-3, 3.6e-3, 1.3),
    "resnet32": (5e-3, 5.7e-3, 1.3), "imagenet": (2e-2, 0.4, 1.3),
}  # fmt: skip
DATA_BYTES = {"resnet8": 1.4e9, "resnet20": 1.4e9, "resnet32": 1.4e9}
PROCESS_BYTES = 250e6
KFAC_OFF = "For K-FAC only."


def paths(text: str) -> None:
    """Folders with a folder of images for each class, or zip files of such; several by commas."""
    for path in filter(None, (part.strip() for part in text.split(","))):
        if not Path(path).expanduser().exists():
            raise ValueError(f"There is nothing at “{path}”. Give a folder of class folders, or a zip file of one.")


def takes_path(values: Mapping) -> bool:
    """Whether the work reads images of the user's."""
    return values["task"].startswith("resnet") or values["task"] == "imagenet"


def _rate(name: str, label: str, default: float) -> Number:
    return Number(name=f"lr_{name}", label=f"{label} rate", group="Racers", default=default, minimum=1e-6, maximum=100,
                  help="Its learning rate; it can be changed while the race runs.",
                  unless=lambda values: None if values[name] else "It does not race.")  # fmt: skip


def _kfac(name: str, **given: Any) -> Number:
    return Number(name=name, group="K-FAC", unless=lambda values: None if values["kfac"] else KFAC_OFF, **given)


class KFACWidget(Panel):
    """A race live: ``KFACWidget()`` sets everything by hand, ``KFACWidget(run)`` shows and steers a run,
    ``KFACWidget(race)`` launches one built in code. See `Panel` for what it does without a page.
    """

    title = "K-FAC"
    kind = "kfac"
    unit = "epochs"
    module = HERE / "kfac.js"
    fields = (
        Choice(name="task", label="Work", group="Work", default="digits_autoencoder", options=tuple(TASKS.items()),
               help="What is trained. Choosing one fills in rates, damping and intervals that suit it. Digits and "
                    "sentences are part of scilab; CIFAR-10 is downloaded once, or read from a path."),
        Number(name="batch_size", label="Batch", group="Work", default=256, minimum=1, maximum=1_000_000, integer=True,
               unit="rows", help="Rows in one step, over all ranks."),
        Number(name="epochs", label="Epochs", group="Work", default=60, minimum=1, maximum=100_000, integer=True,
               help="Passes over the data; every racer makes as many."),
        Text(name="path", label="Path", group="Work", default="", placeholder="download", check=paths,
             help="Images in class folders, or zip files of them, on the machine of the kernel.",
             unless=lambda values: None if takes_path(values) else "For images only."),
        Toggle(name="kfac", label="K-FAC + SGD", group="Racers", default=True,
               help="SGD with momentum, its gradients preconditioned by K-FAC."),
        _rate("kfac", "K-FAC", 0.5),
        Toggle(name="sgd", label="SGD", group="Racers", default=True, help="Gradient descent with momentum 0.9."),
        _rate("sgd", "SGD", 0.05),
        Toggle(name="adam", label="Adam", group="Racers", default=True, help="Adam (AdamW where weights decay)."),
        _rate("adam", "Adam", 0.01),
        Toggle(name="muon", label="Muon", group="Racers", default=False,
               help="Muon for matrices, AdamW for all other parameters; needs torch 2.9."),
        _rate("muon", "Muon", 0.01),
        _kfac("damping", label="Damping λ", default=0.03, minimum=1e-12, maximum=1e6,
              help="Added to the eigenvalues of A ⊗ G, in units of the loss: more is closer to gradient descent."),
        _kfac("kl_clip", label="Clip κ", default=0.03, minimum=0, maximum=1e6,
              help="Bounds how far a step may move the model's predictions (KL divergence); 0 is no bound."),
        _kfac("factors_every", label="Factors every", unit="steps", default=1, minimum=1, maximum=1_000_000,
              integer=True, help="How often A and G are measured anew."),
        _kfac("decompose_every", label="Decompose every", unit="steps", default=5, minimum=1, maximum=1_000_000,
              integer=True, help="How often their eigenvectors are computed anew."),
        _kfac("fraction", label="Gradient workers", unit="fraction of ranks", default=1.0, minimum=0, maximum=1,
              help="How many of the ranks keep each layer's decomposition: 1 sends least, 1/ranks holds least. The "
                   "slider on the right shows what it costs."),
        Choice(name="devices", label="Devices", group="Machine", default="cpu",
               options=(("cpu", "Processor"), ("cuda", "GPUs")), reasons=lambda _values: _no_gpu(),
               help="Where ranks compute: gloo on processors, NCCL with a GPU for each rank."),
        Number(name="ranks", label="Ranks", group="Machine", default=1, minimum=1, maximum=64, integer=True,
               help=f"Processes that share each batch and K-FAC's work; this machine has {CORES} cores."),
        Number(name="seed", label="Seed", group="Machine", default=0, minimum=0, maximum=2**31, integer=True,
               help="Of the initial weights, which all racers share, and of the order of the data."),
    )  # fmt: skip

    def do_set(self, values: Mapping) -> None:
        """Type values into fields; a new kind of work brings its own rates, damping and intervals."""
        task = values.get("task")
        if task in TASKS and task != self._typed.get("task", "digits_autoencoder"):
            from scilab.kfac.presets import preset

            names = {field.name for field in self.fields} - {"path", "devices", "ranks", "fraction", "seed"}
            values = {name: value for name, value in preset(task).items() if name in names} | dict(values)
        super().do_set(values)

    def check(self, values: Mapping) -> Mapping[str, str]:
        from scilab.kfac.placement import gradient_workers
        from scilab.kfac.racing import check_devices

        if not any(values[name] for name in ("kfac", "sgd", "adam", "muon")):
            return {"kfac": "Nobody races: choose at least one optimizer."}
        if values["task"] == "imagenet" and not values["path"]:
            return {"path": "Give ImageNet's folder, with train/ and val/ in it."}
        try:
            check_devices(values["devices"], values["ranks"])
        except ValueError as error:
            return {"ranks": str(error)}
        if values["ranks"] > values["batch_size"]:
            return {"ranks": f"At most {values['batch_size']:,}: each rank needs a row of every batch."}
        try:
            gradient_workers(values["ranks"], values["fraction"])
        except ValueError as error:
            return {"fraction": str(error)} if values["kfac"] else {}
        return {}

    def plan(self, values: Mapping) -> dict:
        from scilab.kfac.presets import layer_shapes, racers
        from scilab.kfac.tradeoff import tradeoffs

        racing = [] if self._form.errors else racers(given(values))
        planned = {"task": {"accuracy": values["task"] != "digits_autoencoder"},
                   "racers": [racer.describe() for racer in racing], "epochs": values["epochs"]}
        if values["kfac"]:
            offers = tradeoffs(layer_shapes(values["task"]), values["ranks"], values["factors_every"],
                               values["decompose_every"])  # fmt: skip
            planned["tradeoff"] = {"ranks": values["ranks"], "fraction": values["fraction"], "offers": offers}
        return planned

    def begin(self, settings: Mapping) -> dict:
        return kfac_picture.begin(settings)

    def draw(self, records: list[dict], picture: dict) -> dict:
        return kfac_picture.draw(records, picture)

    def build(self, values: Mapping) -> Any:
        from scilab.kfac import Race

        return Race.from_settings(given(values))

    def rebuild(self, settings: Mapping) -> Any:
        from scilab.kfac import Race

        return Race.from_settings(settings)

    def values_of(self, settings: Mapping) -> dict | None:
        values = settings.get("values")
        return None if not values else {field.name: values[field.name] for field in self.fields}

    def estimate(self, values: Mapping) -> Estimate:
        if self._form.errors:
            return Estimate()
        task, ranks = values["task"], values["ranks"]
        rows = ROWS.get(task, 50_000)
        fixed, each, more = STEP_S[task]
        steps = -(-rows // values["batch_size"])
        once = values["epochs"] * (steps * fixed + rows * each / min(ranks, CORES))
        seconds = once * (more * values["kfac"] + sum(values[name] for name in ("sgd", "adam", "muon")))
        start = 5.0 if ranks > 1 else 0.5
        memory = DATA_BYTES.get(task, 20e6) * (ranks + (ranks > 1)) + PROCESS_BYTES * (ranks if ranks > 1 else 0)
        note = "Stated as published, not run by us." if task == "imagenet" else ""
        if values["devices"] == "cuda":
            return Estimate(memory_bytes=memory, note=f"The time depends on the GPUs. {note}".strip())
        return Estimate(start + seconds, memory, note=note)

    def script(self, values: Mapping) -> str:
        from scilab.kfac.presets import racers

        if self._form.errors:
            return ""
        lines = [f"    Racer({racer.optimizer!r}, lr={racer.lr:g}" + _arguments(racer) + ")," for racer in
                 racers(given(values))]  # fmt: skip
        racing, extra = "\n".join(lines), given(values)
        return f"""\
from scilab.kfac import Race, Racer
from scilab.kfac.presets import named_task
from scilab.runs import Run

task = named_task({values["task"]!r}, path={values["path"]!r}, batch_size={values["batch_size"]}, seed={values["seed"]})
racers = [
{racing}
]
race = Race(task, racers, epochs={values["epochs"]}, ranks={values["ranks"]}, devices={values["devices"]!r},
            schedule={extra["schedule"]!r}, warmup={extra["warmup"]}, seed={values["seed"]})
run = Run(race).start()  # in a script: for record in race: …
run.wait()
"""


def given(values: Mapping) -> dict:
    """The fields' values, with those of the task that have no field, as `Race.from_settings` takes them."""
    from scilab.kfac.presets import preset

    return {**preset(values["task"]), **values}


def _arguments(racer: Any) -> str:
    told = {}
    if racer.optimizer == "sgd" and racer.momentum != 0.9:
        told["momentum"] = racer.momentum
    if racer.weight_decay:
        told["weight_decay"] = racer.weight_decay
    if racer.kfac is not None:
        told["kfac"] = dict(racer.kfac)
    return "".join(f", {name}={value!r}" for name, value in told.items())


def _no_gpu() -> dict[str, str]:
    import torch

    return {} if torch.cuda.is_available() else {"cuda": "torch sees no GPU here."}
