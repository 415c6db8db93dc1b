"""Tables of a study whose values are set by hand; as they are, every claim about simplicity is reproduced."""

from itertools import product

import numpy as np
import pandas as pd
from numpy import ndarray

FOLDER = "results/simplicity"
SETS = {  # kind, bits per dimension
    "black": ("constant", 2.0), "grey": ("constant", 2.1), "mnist": ("own", 2.9), "fashion-mnist": ("other", 3.2),
    "svhn": ("other", 3.3), "photos": ("photo", 3.5), "cifar10": ("other", 3.6), "noise": ("noise", 10.0),
    "noise-composites": ("composite", 4.0),
}  # fmt: skip
BEDS = {  # source, distractor, label, form, accuracy of originals, bits of originals and of the part with the label
    "images": (np.nan, np.nan, "target", "mix", 0.96, 3.0, np.nan),
    "cifar10": ("cifar10", np.nan, "target", "mix", 0.8, 3.6, np.nan),
    "noise": (np.nan, "noise", "target", "mix", 0.94, 4.5, 3.0),
    "beside": (np.nan, "beside", "target", "mix", 0.92, 3.4, 2.4),
    "beside-reversed": (np.nan, "beside", "distractor", "mix", 0.9, 3.4, 2.6),
    "photo-residual": (np.nan, "photo", "target", "residual", 0.9, 3.6, 3.0),
}
WEIGHTS = (0.0, 1.0, 3.0, 10.0, 30.0)
SHARES = (1.02, 0.7, 0.5, 0.3, 0.15)  # of the bits of the originals, by weight
LOST = (0.0, 0.25, 0.5, 0.5, 8.0)  # points of accuracy, by weight
HARD = (0.0, 1.0, 6.0, 15.0, 30.0)  # the same of the harder set
REMOVED, RETAINED = (0.0, 0.3, 0.6, 0.8, 0.95), (1.0, 1.0, 0.95, 0.9, 0.3)
HEURISTICS = {"blur": (0.5, 1.0, 2.0), "jpeg": (5, 20), "mse": (1.0, 10.0)}
CONDENSED = {0.0: (6.0, 90.0), 10.0: (4.5, 89.9), 100.0: (2.7, 89.5), 1000.0: (1.5, 60.0)}  # bits, accuracy
NETWORKS = ("plain", "robust", "randomised")


def answers(accuracy: float, order: ndarray) -> ndarray:
    """As many right answers as the accuracy says, the easiest images first, so that answers are paired."""
    return (order < round(accuracy * len(order))).astype(np.uint8)


def ladder(
    n: int = 120, bits: dict[str, float] = {}, without: tuple = (), png: float = 1.0, blurred: float = -0.3,  # noqa: B006
) -> dict:  # fmt: skip
    """`bits` of sets where they differ, `png`, the slope of PNG bits on bits, and how many bits blur adds."""
    rng, rows, arrays = np.random.default_rng(0), [], {}
    for name, (kind, mean) in SETS.items():
        if name in without:
            continue
        own = np.zeros(n) if kind == "constant" else 0.3 * rng.standard_normal(n)
        values = bits.get(name, mean) + own + 0.001 * rng.standard_normal(n)
        arrays[f"{name}/png"] = png * (2 * mean + 3 * own + 0.3 * rng.standard_normal(n))
        found = {name: (kind, values)}
        if kind in ("own", "photo"):
            less = blurred + 0.05 * rng.standard_normal(n)
            found[f"{'own' if kind == 'own' else name}-blurred"] = ("blurred", values + less)
        for label, (of, each) in found.items():
            arrays |= {f"{label}/glow/bpd": each.astype(np.float32), f"{label}/shallow/bpd": -each.astype(np.float32)}
            rows += [{"prior": prior, "set": label, "kind": of, "n": n} for prior in ("glow", "shallow")]
    table = pd.DataFrame(rows).sort_values("prior", kind="stable")
    return {f"{FOLDER}/ladder.csv": table, f"{FOLDER}/ladder.safetensors": arrays}


def simplify(
    seeds: int = 3, n: int = 400, shares: tuple = SHARES, lost: tuple = LOST, hard: tuple = HARD,
    beds: tuple = tuple(BEDS), weights: tuple = WEIGHTS, removed: dict[str, tuple] = {},  # noqa: B006
    retained: tuple = RETAINED, png: float = 1.0, target: dict[str, float] = {},  # noqa: B006
) -> dict:  # fmt: skip
    """`shares` of bits and points `lost` by weight, `removed` by bed, `png` bits saved for each of the others.

    `hard`, the points that the harder set loses; `target`, bits of the part with the label where they differ.
    """
    rng, rows, arrays = np.random.default_rng(1), [], {}
    for bed, seed in product(beds, range(seeds)):
        source, distractor, label, form, accuracy, bits, clean = BEDS[bed]
        order, own = rng.permutation(n), 0.1 * rng.standard_normal(n)
        arrays[f"{bed}/seed{seed}/original/bpd"] = (bits + own).astype(np.float32)
        arrays[f"{bed}/seed{seed}/plain"] = answers(accuracy, order)
        for place, weight in enumerate(weights):
            share, points = shares[place], (hard if bed == "cifar10" else lost)[place]
            key = f"{bed}/seed{seed}/{weight:g}"
            arrays[f"{key}/bpd"] = (bits * share + own).astype(np.float32)
            found = {"joint": accuracy - points / 200, "retrained": accuracy - points / 100}
            arrays |= {f"{key}/{name}": answers(value, order) for name, value in found.items()}
            parts = {"removal": removed.get(bed, REMOVED)[place], "retention": retained[place]}
            if isinstance(distractor, str):
                spread = 0.02 * rng.standard_normal((2, n))
                arrays |= {f"{key}/{name}": (value + each).astype(np.float32)
                           for (name, value), each in zip(parts.items(), spread, strict=True)}  # fmt: skip
            rows.append({
                "bed": bed, "source": source, "distractor": distractor, "label": label, "form": form, "weight": weight,
                "seed": seed, "n_test": n, "bpd_original": bits, "bpd_simplified": bits * share,
                "bpd_target": target.get(bed, clean), "png_original": 5.0, "png_simplified": 5 - 5 * png * (1 - share),
                "contrast_bpd_original": bits + 0.1, "contrast_bpd_simplified": bits * (1 - 0.5 * (1 - share)) + 0.1,
                "accuracy_plain": accuracy, "accuracy_retrained": found["retrained"],
                **(parts if isinstance(distractor, str) else dict.fromkeys(parts, np.nan)),
            })  # fmt: skip
    return {f"{FOLDER}/simplify.csv": pd.DataFrame(rows), f"{FOLDER}/simplify.safetensors": arrays}


def baselines(
    seeds: int = 3, n: int = 400, better: dict[str, float] = {}, beds: tuple = ("images", "noise"),  # noqa: B006
    saved: float = 0.6,
) -> dict:  # fmt: skip
    """Heuristics that lose 20 points down to the fewest bits, less where `better`; they save that share of bits."""
    rows = []
    for bed, (method, knobs), seed in product(beds, HEURISTICS.items(), range(seeds)):
        for place, knob in enumerate(knobs, 1):
            done = place / len(knobs)
            accuracy = BEDS[bed][4] - 0.2 * done + better.get(method, 0.0) / 100
            rows.append({"bed": bed, "method": method, "knob": float(knob), "seed": seed, "n_test": n,
                         "bpd": BEDS[bed][5] * (1 - saved * done), "accuracy": accuracy})  # fmt: skip
    return {f"{FOLDER}/baselines.csv": pd.DataFrame(rows)}


def condense(
    seeds: int = 3, n: int = 400, ipcs: tuple = (1, 10), sets: dict[float, tuple[float, float]] = {},  # noqa: B006
    weights: tuple = tuple(CONDENSED),
) -> dict:  # fmt: skip
    """Bits and accuracy in percent by weight, as CONDENSED has them where `sets` does not."""
    rng, rows, arrays = np.random.default_rng(2), [], {}
    for ipc, seed in product(ipcs, range(seeds)):
        orders = [rng.permutation(n) for _ in range(2)]
        for (weight, (bits, accuracy)), kind, network in product(
            (CONDENSED | sets).items(), ("convnet", "groupnorm"), range(2)
        ):
            if weight not in weights:
                continue
            right = answers(accuracy / 100 if kind == "convnet" else 0.5, orders[network])
            arrays[f"{ipc}/{weight:g}/seed{seed}/{kind}/{network}"] = right
            rows.append({"ipc": ipc, "weight": weight, "seed": seed, "evaluated_on": kind, "network": network,
                         "n_test": n, "bpd": bits + 0.05 * seed, "accuracy": right.mean()})  # fmt: skip
    return {f"{FOLDER}/condense.csv": pd.DataFrame(rows), f"{FOLDER}/condense.safetensors": arrays}


def explain(
    seeds: int = 3, n: int = 20, kept: float = 0.95, blurred: float = 0.5, kl: float = 0.05, after: float = 1.8,
    randomised: float = 0.2, groups: tuple = ("wrong", "right"),
) -> dict:  # fmt: skip
    """Shares of images that keep the label, simplified and `blurred`, and SSIM of pairs of simplifications."""
    rng, rows, far = np.random.default_rng(3), [], []
    for network, group, seed, image in product(NETWORKS, groups, range(seeds), range(n)):
        first = network == "plain" and group == "wrong"
        rows.append({
            "network": network, "group": group, "image": 3 * image, "seed": seed, "bpd_before": 3.0,
            "bpd_after": (after if first else 2.9) + 0.1 * rng.standard_normal(),
            "kl": (kl if first else 5.0) * (1 + 0.2 * rng.standard_normal()) * (50 if image == 0 else 1),
            "kept": int(image < kept * n) if first else 0, "kept_blur": int(image < blurred * n) if first else 1,
        })  # fmt: skip
    for group, (pair, ssim), image in product(
        groups, (("seeds", 0.8), ("robust", 0.5), ("randomised", randomised)), range(n)
    ):
        if pair != "seeds" or seeds > 1:
            value = (ssim if group == "wrong" else 0.5) + 0.05 * rng.standard_normal()
            far += [{"image": 3 * image, "group": group, "pair": pair, "ssim": value}]
    return {f"{FOLDER}/explain.csv": pd.DataFrame(rows), f"{FOLDER}/explain_distances.csv": pd.DataFrame(far)}


def rehearse(
    seeds: int = 3, n: int = 1000, lost: dict[tuple[float, int], float] = {}, none: float = 30.0, saved: float = 0.5,  # noqa: B006
    tasks: tuple = ("letters", "own", "digits"),
) -> dict:  # fmt: skip
    """Points `lost` to unsimplified images by weight and distillation, and to them without rehearsal (`none`)."""
    rows = []
    ways = [(np.nan, 0, 0), (0.0, 1, 0), (0.0, 1, 1), (100.0, 1, 0), (100.0, 1, 1)]
    for (weight, rehearsed, distilled), seed, stage in product(ways, range(seeds), range(1, len(tasks) + 1)):
        points = lost.get((weight, distilled), 0.2 if weight else 0.0) if rehearsed else none
        for place, task in enumerate(tasks[:stage]):
            rows.append({
                "weight": weight, "rehearsed": rehearsed, "distilled": distilled, "seed": seed, "stage": stage,
                "task": task, "n_test": n, "accuracy": 0.95 - 0.01 * place - (points / 100 if stage > 1 else 0),
                "bpd": np.nan if stage == 1 or not rehearsed else 6 - 6 * saved * (weight > 0),
            })  # fmt: skip
    return {f"{FOLDER}/rehearse.csv": pd.DataFrame(rows)}


BUILDERS = (ladder, simplify, baselines, condense, explain, rehearse)


def study(seeds: int = 3, **changes: dict) -> dict:
    """All tables of a study; a keyword argument holds those of the builder of that name."""
    tables: dict = {}
    for build in BUILDERS:
        own = {} if build is ladder else {"seeds": seeds}
        tables |= build(**own | changes.get(build.__name__, {}))
    return tables
