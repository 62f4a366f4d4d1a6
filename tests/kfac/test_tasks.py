"""The named work: it is what it says it is, and every kind of it trains."""

import math

import pytest
import torch
from PIL import Image

from scilab.kfac import Race, Racer
from scilab.kfac.networks import MASK
from scilab.kfac.presets import PRESETS, layer_shapes, named_task, race_arguments
from scilab.kfac.records import EpochFinished
from scilab.kfac.tasks import MASKED, TASKS, TOKENS, WORDS

SMALL = ("digits_autoencoder", "digits_cnn", "unet", "masked_lm")


@pytest.fixture(scope="module", params=SMALL)
def task(request):
    return named_task(request.param)


def constant_loss(task):
    """The test loss of the best constant answer: what a network that sees nothing of its input can reach."""
    _, answers = task.train
    _, targets = task.test
    if task.name == "digits_autoencoder":
        return float((targets - answers.mean(0)).square().sum(1).mean() / 2)
    if task.name == "unet":
        share = answers.mean(0).clamp(1e-3, 1 - 1e-3)
        return float(torch.nn.functional.binary_cross_entropy(share.expand_as(targets), targets) * task.marks)
    counts = torch.bincount(answers.flatten(), minlength=len(WORDS)).double() + 1e-9
    return float(-(counts / counts.sum()).log()[targets.flatten()].mean())


def test_k_fac_learns_more_than_a_constant_in_few_epochs(task):
    few = 7 if task.name == "digits_autoencoder" else 2
    given = race_arguments({"task": task.name, "sgd": False, "adam": False, "epochs": few})
    epochs = [record for record in Race(**given) if isinstance(record, EpochFinished)]
    assert epochs[-1].racers[0].loss < 0.97 * constant_loss(task)
    assert set(epochs[-1].racers[0].cosines) == set(layer_shapes(task.name)), "every layer that was foreseen"


def test_sentences_are_masked_at_three_places_whose_words_are_the_targets():
    task = named_task("masked_lm")
    tokens, answers = task.train
    assert tokens.shape[1] == TOKENS and ((tokens == MASK).sum(1) == MASKED).all()
    whole = tokens.clone()
    whole[tokens == MASK] = answers.flatten()
    text = " ".join(WORDS[int(token)] for token in whole[0])
    assert "[mask]" not in text and any(verb in text for verb in ("see", "like", "find", "follow"))
    singular, plural = WORDS.index("cat"), WORDS.index("cats")
    before = {noun: {WORDS[int(w)] for w in whole[:, :-1][whole[:, 1:] == noun]} for noun in (singular, plural)}
    assert "these" not in before[singular] and "this" not in before[plural], "nouns agree with determiners"


def test_the_mask_of_a_noisy_digit_is_the_digit():
    scenes, masks = named_task("unet").train
    inside, outside = scenes[:, 0][masks > 0.5].mean(), scenes[:, 0][masks < 0.5].mean()
    assert scenes.shape[1:] == (1, 16, 16) and 0.5 < inside < 1.0 and outside < 0.25


@pytest.fixture
def tree(tmp_path):
    """Two classes of photographs, dark and bright, as ImageNet lies on a disk."""
    generator = torch.Generator().manual_seed(0)
    for part, count in (("train", 6), ("val", 2)):
        for name, light in (("dark", 40), ("bright", 200)):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                noise = torch.randint(0, 50, (40, 48, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray((noise + light).numpy()).save(folder / f"{number}.jpeg")
    return tmp_path


def test_cifar_10_is_read_from_a_tree_of_class_folders(tree):
    task = named_task("resnet8", path=str(tree), batch_size=4)
    assert task.train[0].shape == (12, 3, 32, 32) and task.model[-1].out_features == 2
    assert task.train[0].mean((0, 2, 3)).abs().max() < 1e-4, "standardised"
    *_, last = Race(task, [Racer("sgd", 0.01, kfac={"damping": 0.1})], epochs=1)
    assert isinstance(last, EpochFinished) and math.isfinite(last.racers[0].loss)


def test_the_imagenet_recipe_reads_its_tree(tree):
    """On twelve photographs: ImageNet itself was not run."""
    from scilab.kfac import imagenet
    from scilab.kfac.tasks import imagenet as recipe

    task = recipe(tree, batch_size=4, workers=0)
    assert task.model[-1].out_features == 2 and len(task.train) == 3
    train, test, classes = imagenet.tree(tree, 4, 0, size=32)
    assert classes == 2 and train.dataset.classes == ["bright", "dark"]
    images, labels = next(iter(test))
    assert images.shape == (4, 3, 32, 32) and labels.tolist() == [0, 0, 1, 1]
    assert images[:2].mean() > 1 > -0.5 > images[2:].mean(), "bright and dark, standardised"
    with pytest.raises(ValueError, match="no folder .*train"):
        imagenet.tree(tree / "train", 4, 0)


def test_every_kind_of_work_has_a_preset_and_layers():
    assert set(PRESETS) == set(TASKS)
    assert len(layer_shapes("resnet32")) == 32 and len(layer_shapes("imagenet")) == 54
    with pytest.raises(ValueError, match="no setting dampening"):
        race_arguments({"dampening": 1})
    with pytest.raises(ValueError, match="nobody races"):
        race_arguments({"kfac": False, "sgd": False, "adam": False})
