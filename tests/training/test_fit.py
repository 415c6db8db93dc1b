"""Training to the end, with its checkpoints."""

import pytest
import torch

from fourlenses.errors import UserError
from fourlenses.nets import build
from fourlenses.resume import Resume
from fourlenses.training import RECIPES, Threat
from fourlenses.training.fit import N_HELD_OUT, HeldOut, fit
from fourlenses.training.loop import Settings

SHAPE = (1, 8, 8)
X = torch.randint(0, 256, (48, *SHAPE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
Y = torch.arange(48) % 3
THREAT = Threat("linf", 0.05, 2)


class Killed(BaseException):
    """What no handler catches."""


def fitted(resume: Resume, *, ema: float = 0.0, die_after: int | None = None, recipe: str = "adversarial-linf", lr=0.1):
    settings = Settings(epochs=3, batch=16, lr=lr, weight_decay=5e-4, crop_padding=1, flip=True, ema_decay=ema)
    network = build("resnet", widths=[4, 8], n_classes=3, image_shape=SHAPE, generator=torch.Generator().manual_seed(0))
    objective = RECIPES[recipe].objective("bfloat16", THREAT, 1.0)
    lengths = []

    def watch(epochs, name, total):
        lengths.append(total)
        for i, epoch in enumerate(epochs):
            if i == die_after:
                raise Killed
            yield epoch

    held_out = HeldOut(X, Y, THREAT, "float32")
    stream = torch.Generator().manual_seed(7)
    kept, history = fit(network, X, Y, objective, settings, stream, held_out, resume, "tiny, seed 0", watch)
    weights = kept[settings.epochs]
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in weights.items())
    return weights, history, lengths


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("die_after", [0, 1, 2])
def test_interrupted_fit_ends_with_the_same_weights(tmp_path, ema, die_after):
    whole, history, lengths = fitted(Resume(tmp_path / "a", "key"), ema=ema)
    assert lengths == [3] and len(history) == 3
    with pytest.raises(Killed):
        fitted(Resume(tmp_path / "b", "key"), ema=ema, die_after=die_after)
    again, resumed_history, lengths = fitted(Resume(tmp_path / "b", "key"), ema=ema)
    assert lengths == [3 - die_after]
    assert history == resumed_history
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_finished_training_is_not_repeated(tmp_path):
    first, history, _ = fitted(Resume(tmp_path, "key"))
    again, same_history, lengths = fitted(Resume(tmp_path, "key"))
    assert lengths == [0] and same_history == history
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_loss_that_is_not_finite_is_a_user_error_that_names_step_and_recipe(tmp_path):
    told = r"^tiny, seed 0: .*not finite.* step \d+; expected finite numbers; lower"
    with pytest.raises(UserError, match=told) as caught:
        fitted(Resume(tmp_path, "key"), recipe="standard", lr=1e12)
    assert "\n" not in str(caught.value)


def test_history_holds_held_out_accuracies(tmp_path):
    _, history, _ = fitted(Resume(tmp_path, "key"))
    assert set(history[0]) == {"epoch", "lr", "loss", "accuracy_train", "accuracy_clean", "accuracy_robust"}
    assert all(0 <= row["accuracy_robust"] <= row["accuracy_clean"] <= 1 for row in history)


def test_held_out_measures_the_first_images_with_one_random_start():
    n = N_HELD_OUT + 10
    x = torch.full((n, *SHAPE), 200, dtype=torch.uint8)
    y = torch.cat([torch.ones(N_HELD_OUT), torch.zeros(10)]).long()

    class Bright(torch.nn.Module):
        def forward(self, images):
            level = images.flatten(1).mean(1) - 0.5
            return torch.stack([-level, level], 1)

    measured = HeldOut(x, y, THREAT, "float32").measure(Bright())
    assert measured == {"accuracy_clean": 1.0, "accuracy_robust": 1.0}
    assert measured == HeldOut(x, y, THREAT, "float32").measure(Bright())
