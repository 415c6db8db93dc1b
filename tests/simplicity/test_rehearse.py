"""Learning one task after the other: whose outputs count, what is rehearsed, and what is kept by distillation."""

import copy
import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from fourlenses import runtime
from fourlenses.errors import UserError
from fourlenses.images import Images
from fourlenses.nets import build
from fourlenses.resume import Resume
from fourlenses.simplicity.rehearse import (
    Labelled,
    distillation,
    heads,
    joined,
    learn,
    lessons,
    load_task,
    objective,
    right,
    tasks_of,
    within,
)

SHAPE = (1, 8, 8)
CPU = torch.device("cpu")
OWNERS = heads([2, 3], CPU)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net(n_classes: int = 5) -> torch.nn.Module:
    return build("groupnorm", widths=[4, 8, 8, 8], n_classes=n_classes, image_shape=SHAPE, generator=stream())


def images(n: int, classes: int, turned: bool, seed: int = 0) -> Images:
    """Stripes as wide as the class, of noise; turned, they lie."""
    y = torch.arange(n) % classes
    stripes = (torch.arange(8).view(1, 8) // (y.view(n, 1) + 1) % 2).view(n, 1, 1, 8)
    x = (150 * stripes + torch.randint(0, 100, (n, *SHAPE), generator=stream(seed))).byte()
    return Images(x.mT.contiguous() if turned else x, y)


def two_tasks():
    found = [{"train": images(96, k, k == 3), "test": images(48, k, k == 3, 1)} for k in (2, 3)]
    return tasks_of(found, CPU)


def test_every_output_belongs_to_one_task() -> None:
    expected = [[True, True, False, False, False], [False, False, True, True, True]]
    assert OWNERS.tolist() == expected
    found = within(torch.arange(10.0).view(2, 5), torch.tensor([1, 0]), OWNERS)
    assert found.tolist() == [[-math.inf, -math.inf, 2, 3, 4], [5, 6, -math.inf, -math.inf, -math.inf]]


def test_distillation_is_a_mean_of_divergences_at_temperature_2() -> None:
    logits, taught = 3 * torch.randn(2, 4, 5, generator=stream()).double()
    expected = []
    for first, last in ((0, 2), (2, 5)):
        for row, old in zip(logits[:, first:last].tolist(), taught[:, first:last].tolist(), strict=True):
            p, q = ([math.exp(v / 2) / sum(math.exp(w / 2) for w in each) for v in each] for each in (old, row))
            expected.append(4 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    torch.testing.assert_close(float(distillation(logits, taught, OWNERS)), sum(expected) / 8)


@given(shift=st.floats(-50, 50), seed=st.integers(0, 99))
def test_distillation_sees_no_shift_of_a_task_and_is_not_negative(shift, seed) -> None:
    logits, taught = torch.randn(2, 4, 5, generator=stream(seed)).double()
    moved = logits + shift * OWNERS[0]
    torch.testing.assert_close(distillation(moved, taught, OWNERS), distillation(logits, taught, OWNERS))
    assert distillation(logits, taught, OWNERS) > 0
    torch.testing.assert_close(distillation(taught + shift, taught, OWNERS), torch.tensor(0.0).double())


def test_loss_is_of_task_memory_and_teacher() -> None:
    network, teacher = net().double(), net()
    teacher.head.weight.data += 1
    teacher.double()
    x, y = torch.rand(3, *SHAPE).double(), torch.tensor([2, 4, 3])
    one = torch.full(SHAPE, 77, dtype=torch.uint8)[None]
    memory = Labelled(one, torch.tensor([1]), torch.tensor([0]))
    own = network(x)[:, 2:]
    on_task = F.cross_entropy(own, y - 2)
    drawn = network(one.double() / 255)
    # the memory's images are float32 before the network sees them
    objectives = {
        "alone": (objective(1, OWNERS, None, None), on_task),
        "rehearsed": (objective(1, OWNERS, memory, None), on_task + F.cross_entropy(drawn[:, :2], torch.tensor([1]))),
    }
    for found, expected in objectives.values():
        loss, logits = found(network, x, y, stream())
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(logits[:, 2:], own)
        assert (logits[:, :2] == -math.inf).all()
    loss, _ = objective(1, OWNERS, None, teacher)(network, x, y, stream())
    torch.testing.assert_close(loss, on_task + distillation(network(x), teacher(x), OWNERS[:1]))
    both = torch.cat([x, (one / 255.0).expand(3, *SHAPE).double()])
    loss, _ = objective(1, OWNERS, memory, teacher)(network, x, y, stream())
    expected = objectives["rehearsed"][1] + distillation(network(both), teacher(both), OWNERS[:1])
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def test_outputs_of_later_tasks_stay_as_they_were() -> None:
    network, (task, _) = net(), two_tasks()
    before = copy.deepcopy(network.head.weight.detach())
    learn(network, task.train.x, task.train.y, objective(0, OWNERS, None, None), 2, 1e-2, stream())
    assert torch.equal(network.head.weight[2:], before[2:])
    assert not torch.equal(network.head.weight[:2], before[:2])


def test_right_is_among_the_classes_of_the_task() -> None:
    labels = Labelled(torch.zeros(4, *SHAPE).byte(), torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 1, 1]))
    network = net()
    network.head.weight.data.zero_()
    network.head.bias.data.copy_(torch.tensor([2.0, 1.0, 5.0, 9.0, 7.0]))
    assert right(network, labels, OWNERS).tolist() == [True, False, False, True]


def test_tasks_are_cut_fitted_and_counted() -> None:
    own = {"train": images(30, 3, False), "test": images(20, 3, False)}
    x = torch.randint(0, 255, (50, 3, 16, 16), generator=stream()).byte()
    other = {"all": Images(x, torch.arange(50) % 2)}
    load = {"whole": other, "parted": {"train": other["all"], "test": Images(x[:7], torch.arange(7) % 2)}}.__getitem__
    found = {name: load_task(name, own, load, 24, runtime.generator(0, name)) for name in ("own", "whole", "parted")}
    assert [(len(task["train"]), len(task["test"])) for task in found.values()] == [(24, 20), (24, 20), (24, 7)]
    assert torch.equal(found["own"]["train"].x, own["train"].x[:24])
    assert all(part.x.shape[1:] == SHAPE for task in found.values() for part in task.values())
    tasks = tasks_of(list(found.values()), CPU)
    assert [task.classes for task in tasks] == [3, 2, 2]
    assert [(int(task.train.y.min()), int(task.train.y.max())) for task in tasks] == [(0, 2), (3, 4), (5, 6)]
    assert [set(task.test.task.tolist()) for task in tasks] == [{0}, {1}, {2}]
    with pytest.raises(UserError, match="rehearse.n_train"):
        load_task("whole", own, load, 50, stream())


@pytest.mark.parametrize("rehearsed, distilled", [(False, False), (True, True)])
def test_lessons_go_on_where_they_stopped(tmp_path, rehearsed, distilled) -> None:
    tasks, names = two_tasks(), ["first", "second"]
    memory = [task.train for task in tasks] if rehearsed else []
    call = partial(lessons, tasks=tasks, memory=memory, distilled=distilled, epochs=20, lr=1e-2)
    call = partial(call, streams=partial(runtime.generator, 0), names=names)
    whole = list(call(net(), resume=Resume(tmp_path / "a", "key")))
    assert [len(each) for each in whole] == [1, 2] and whole[0][0] > 0.9 and whole[1][1] > 0.8
    first = next(call(net(), resume=Resume(tmp_path / "b", "key")))
    again = Resume(tmp_path / "b", "key")
    assert [first, *list(call(net(), resume=again))[1:]] == whole
    for name in names:
        one, other = (Resume(tmp_path / run, "key").load(name)[0] for run in "ab")
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_lessons_that_run_away_are_one_line(tmp_path) -> None:
    call = partial(lessons, net(), two_tasks(), [], False, 1, math.inf, partial(runtime.generator, 0))
    with pytest.raises(UserError, match="lower rehearse.lr"):
        list(call(Resume(tmp_path, "key"), ["first", "second"]))


def test_nothing_is_joined_to_nothing() -> None:
    assert joined([]) is None
    first, second = (task.test for task in two_tasks())
    both = joined([first, second])
    assert torch.equal(both.y, torch.cat([first.y, second.y])) and both.task.tolist() == [0] * 48 + [1] * 48
