"""Results of made-up numbers for the figures of the simplicity lens, of the forms that its stages write."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from fourlenses.artifacts import write_csv

OWN, WEIGHTS, KEPT = "mnist5k", [0.0, 1.0, 2.0, 5.0, 10.0], 32
PRIORS = {"glow": 1.0, "shallow": 1.15, "additive": 1.3}  # and how many bits it gives, against the first
SETS = {  # kind, mean bits per dimension, and of PNG
    "black": ("constant", 2.05, 0.21), "grey": ("constant", 2.1, 0.25), OWN: ("own", 2.9, 2.3),
    "fashion-mnist": ("other", 3.2, 3.9), "letters": ("other", 3.1, 4.6), "cifar10-jpeg75": ("other", 3.6, 6.0),
    "photos": ("photo", 3.7, 6.1), "photos-blurred": ("blurred", 2.7, 4.2), "own-blurred": ("blurred", 2.5, 1.7),
    "noise": ("noise", 10.2, 8.3),
}  # fmt: skip
FEW = ("black", "grey", OWN, "photos", "photos-blurred", "own-blurred", "noise")
BEDS = {  # source, distractor, label, form, weights, seeds
    "images": (None, None, "target", "mix", WEIGHTS, [0, 1, 2]),
    "fashion": ("fashion-mnist", None, "target", "mix", WEIGHTS, [0]),
    "noise": (None, "noise", "target", "mix", WEIGHTS, [0, 1, 2]),
    "photo": (None, "photo", "target", "mix", [0.0, 2.0, 10.0], [0]),
    "beside": (None, "beside", "target", "mix", [0.0, 2.0, 10.0], [0]),
    "beside-reversed": (None, "beside", "distractor", "mix", [0.0, 2.0, 10.0], [0]),
    "stripes": ("cifar10-jpeg75", "stripes", "distractor", "mix", [10.0], [0]),
    "stripes-reversed": ("cifar10-jpeg75", "stripes", "target", "mix", [10.0], [0, 1, 2]),
    "stacked": (None, "stacked", "target", "mix", [10.0], [0]),
    "photo-residual": (None, "photo", "target", "residual", [10.0], [0]),
    "images-residual": (None, None, "target", "residual", [0.0, 10.0], [0]),
}
FEW_BEDS = {"images": (*BEDS["images"][:4], [0.0, 10.0], [0]), "noise": (*BEDS["noise"][:4], [10.0], [0])}
METHODS = {"blur": [0.5, 1.0, 2.0], "jpeg": [2, 5, 10, 40], "mse": [0.1, 1.0]}
RANDOMISED = "randomised"


def images(n: int, shape: tuple[int, int, int], seed: int = 0, noise: float = 0.0, level: float = 1.0) -> np.ndarray:
    """Bars at a place of each class on black ground, under noise; faded by `level`."""
    rng, (_, h, w) = np.random.default_rng(seed), shape
    x = np.zeros((n, *shape))
    for i in range(n):
        at = i % 10 / 14
        x[i, :, int(at * h) : int((at + 0.2) * h), w // 8 : -w // 8] = 0.9
        x[i, :, h // 8 : -h // 8, int((0.8 - at) * w) : int((1 - at) * w)] = 0.7
    return (255 * ((1 - noise) * level * x + noise * rng.random(x.shape)).clip(0, 1)).astype(np.uint8)


def glow(priors: list[str]) -> pd.DataFrame:
    rows = [
        (prior, step, 2e-3, *(mean * PRIORS[prior] + 4 * np.exp(-step / 150) for mean in (3.5, 3.6)), 0)
        for prior, step in product(priors, range(50, 1501, 50))
    ]
    return pd.DataFrame(rows, columns="prior step lr bpd_train bpd_photos skipped".split())


def ladder(sets: list[str], priors: list[str], shape: tuple, n: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    rng, rows, arrays = np.random.default_rng(0), [], {}
    for place, name in enumerate(sets):
        kind, mean, png = SETS[name]
        luck = np.zeros(n) if kind == "constant" else 0.2 * rng.normal(size=n)
        grain = {"noise": 1.0, "photo": 0.6, "other": 0.3}.get(kind, 0.02 * (kind != "constant"))
        level = {"black": 0.0, "grey": 0.0}.get(name, 1.0)
        arrays[f"{name}/images"] = images(16, shape, place, grain, level) + np.uint8(127 * (name == "grey"))
        arrays[f"{name}/png"] = (png + 3 * luck + 0.1 * rng.normal(size=n) * (luck != 0)).clip(0.1).astype(np.float32)
        arrays[f"{name}/jpeg"] = 0.5 * arrays[f"{name}/png"]
        for prior in priors:
            bpd = PRIORS[prior] * (1 + 20 * (kind == "noise" and prior == "additive")) * (mean + luck)
            arrays[f"{name}/{prior}/bpd"] = bpd.astype(np.float32)
            rho = (np.nan, np.nan, np.nan) if kind == "constant" else (0.85, 0.7, 1 - 0.2 * priors.index(prior))
            rows.append((prior, int(prior == "additive"), name, kind, n, bpd.mean(), bpd.std(), bpd.std() / n**0.5, png,
                         png / 2, bpd.mean() + 0.1, *rho))  # fmt: skip
    columns = "prior refused set kind n bpd sd se png jpeg contrast_bpd rho_png rho_jpeg rho_prior"
    return pd.DataFrame(rows, columns=columns.split()), arrays


def simplify(beds: dict, shape: tuple, n: int) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, np.ndarray]]:
    rng, rows, history, arrays = np.random.default_rng(1), [], [], {}
    for place, (bed, (source, distractor, label, form, weights, seeds)) in enumerate(beds.items()):
        hard = 0.1 * (source is not None) + 0.05 * (distractor is not None) + 0.01 * place
        before = 2.9 + 8 * hard
        arrays[f"{bed}/original"] = images(KEPT, shape, 0, 0.35 * (distractor is not None))
        arrays[f"{bed}/target"] = images(KEPT, shape, 0)
        arrays[f"{bed}/labels"] = np.arange(KEPT) % 10
        if distractor:
            arrays[f"{bed}/distractor"] = images(KEPT, shape, 5, 1.0)
        for seed in seeds:
            arrays[f"{bed}/seed{seed}/original/bpd"] = (before + 0.2 * rng.normal(size=n)).astype(np.float32)
            arrays[f"{bed}/seed{seed}/plain"] = (rng.random(n) < 0.97 - hard).astype(np.uint8)
        for weight, seed in product(weights, seeds):
            done = weight / (weight + 2) * (0.3 if form == "residual" else 1) + 0.02 * seed
            bpd, joint = before - done, 0.97 - hard - 0.04 * done**2 - 0.005 * seed
            removal = np.nan if distractor is None else 0.9 * done
            retained = np.nan if distractor is None else 1 - 0.3 * done
            retrained = [joint - lost for lost in (0.03 * done, 0.02 * done, 0.1)]
            rows.append((bed, source, distractor, label, form, weight, seed, 4000, n, before, bpd,
                         2.9 if distractor else np.nan, 5.0, 5.0 - 2 * done, before + 0.1, bpd + 0.2,
                         0.9 - 0.5 * hard - 0.3 * done, 0.95 - hard, 0.97 - hard, joint, joint - 0.02, *retrained,
                         removal, retained, 0.8 * removal))  # fmt: skip
            key, grain = f"{bed}/seed{seed}/{weight:g}", 0.35 * (distractor is not None) * (1 - done)
            arrays[f"{key}/images"] = images(KEPT, shape, seed, grain, 1 - 0.5 * done)
            arrays[f"{key}/bpd"] = (arrays[f"{bed}/seed{seed}/original/bpd"] - done).astype(np.float32)
            arrays[f"{key}/joint"] = (rng.random(n) < joint).astype(np.uint8)
            arrays[f"{key}/retrained"] = (rng.random(n) < joint - 0.03 * done).astype(np.uint8)
            for step in range(50, 1501, 50):
                t = step / 1500
                loss = 0.4 * np.exp(-4 * t)
                gate = (0.9 - 0.5 * hard - 0.3 * done) * (1 - np.exp(-6 * t)) + 0.03 * rng.normal()
                history.append((bed, weight, seed, step, 2 * loss, loss, loss, loss, before - done * t, max(gate, 0)))
    columns = "bed source distractor label form weight seed n_train n_test bpd_original bpd_simplified bpd_target"
    columns += " png_original png_simplified contrast_bpd_original contrast_bpd_simplified gate gate_last"
    columns += " accuracy_plain accuracy_joint accuracy_joint_original accuracy_retrained accuracy_retrained_own"
    columns += " accuracy_retrained_original removal retention probe_removal"
    past = "bed weight seed step loss before after original bpd gate"
    return pd.DataFrame(rows, columns=columns.split()), pd.DataFrame(history, columns=past.split()), arrays


def baselines(beds: list[str], table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for bed, (method, knobs) in product(beds, METHODS.items()):
        own = table[table["bed"] == bed]
        for place, knob in enumerate(knobs):
            for seed in sorted(own["seed"].unique()):
                done = 0.2 + 0.6 * place / len(knobs)
                lost = {"blur": 0.2, "jpeg": 0.12, "mse": 0.08}[method] * done**2 + 0.004 * seed
                n_test, before, plain = own[["n_test", "bpd_original", "accuracy_plain"]].iloc[0]
                rows.append((bed, method, knob, seed, int(n_test), before - done, 4 - done, plain - lost, 0.9 - lost))
    return pd.DataFrame(rows, columns="bed method knob seed n_test bpd png accuracy accuracy_original".split())


def condense(ipcs: list[int], weights: list[float], seeds: list[int], evaluators: list[str], shape: tuple,
             ) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, np.ndarray]]:  # fmt: skip
    rng, rows, history, arrays = np.random.default_rng(2), [], [], {}
    for ipc, weight, seed in product(ipcs, weights, seeds):
        done = np.log10(1 + weight) / 3
        bpd, key = 6 - 2.5 * done + 0.05 * seed + 0.5 * (ipc > 1), f"{ipc}/{weight:g}/seed{seed}"
        x = images(10, shape, seed, 0.3 * (1 - done)).repeat(ipc, 0)
        arrays |= {f"{key}/images": x, f"{key}/labels": np.arange(10).repeat(ipc)}
        history += [(ipc, weight, seed, t, 60 * np.exp(-t / 30) + 20, bpd + np.exp(-t / 40)) for t in range(0, 151, 10)]
        for evaluator, network in product(evaluators, range(3)):
            share = 0.85 + 0.04 * (ipc > 1) - 0.1 * done**3 - 0.15 * evaluators.index(evaluator) + 0.01 * rng.normal()
            rows.append((ipc, weight, seed, evaluator, network, 1000, bpd, 0.9 * bpd, share))
            arrays[f"{key}/{evaluator}/{network}"] = (rng.random(1000) < share).astype(np.uint8)
    columns = "ipc weight seed evaluated_on network n_test bpd png accuracy"
    past = pd.DataFrame(history, columns="ipc weight seed round match bpd".split())
    return pd.DataFrame(rows, columns=columns.split()), past, arrays


def explain(networks: list[str], seeds: list[int], n: int, shape: tuple,
            ) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]]:  # fmt: skip
    rng, rows, history, arrays, distances = np.random.default_rng(3), [], [], {}, []
    for place, (network, group) in enumerate(product(networks, ("wrong", "right"))):
        original = images(n, shape)
        arrays[f"{group}/original"] = original
        for seed in seeds:
            key, spread = f"{network}/{group}/seed{seed}", rng.random(n)
            arrays[f"{key}/simplified"] = images(n, shape, seed, 0.05 * place, 0.8)
            arrays[f"{key}/blurred"] = images(n, shape, seed, 0.2, 0.5)
            for i in range(n):
                kept, wrong = rng.random() < 0.95 - 0.05 * place, group == "wrong"
                rows.append((network, group, 7 * i, i % 10, (i + 3 * wrong) % 10, 0.99, seed, 3.0,
                             2.0 - 0.4 * spread[i], 2.3, 1.5, 0.02 + 0.1 * spread[i], int(kept),
                             2.01 - 0.4 * spread[i], 1.1, 0.3 + spread[i], int(rng.random() < 0.6),
                             int(kept and not wrong)))  # fmt: skip
            for step in range(0, 301, 10):
                t = np.exp(-step / 60)
                history.append((network, group, seed, step, 5 * t + 2, 0.3 * t + 0.2, 2.0 + 0.1 * place - 0.5 * t, t))
    pairs = {"seeds": 0.8, "robust": 0.6, "randomised": 0.3}
    for group, pair in product(("wrong", "right"), list(pairs)[len(seeds) == 1 :]):
        distances += [(7 * i, group, pair, pairs[pair] + 0.1 * rng.normal()) for i in range(n)]
    columns = "network group image label predicted confidence seed bpd_before bpd_after png_before png_after kl kept"
    columns += " bpd_blur sigma kl_blur kept_blur recognised_right"
    past = pd.DataFrame(history, columns="network group seed step loss match bpd kl".split())
    tables = {"explain": pd.DataFrame(rows, columns=columns.split()), "explain_history": past}
    tables["explain_distances"] = pd.DataFrame(distances, columns="image group pair ssim".split())
    return tables, arrays


def rehearse(tasks: list[str], seeds: list[int], weights: list[float]) -> pd.DataFrame:
    rows, ways = [], [(np.nan, 0, 0), *product(weights, [1], [0, 1])]
    for (weight, rehearsed, distilled), seed, stage in product(ways, seeds, range(1, len(tasks) + 1)):
        for place, task in enumerate(tasks[:stage]):
            ago = stage - 1 - place
            lost = ago * (0.3 if not rehearsed else 0.08 + 0.02 * np.log10(1 + weight) - 0.02 * distilled)
            bpd = np.nan if stage == 1 or not rehearsed else 6 - np.log10(1 + weight)
            rows.append((weight, rehearsed, distilled, seed, stage, task, 1000, 0.95 - lost - 0.01 * seed, bpd))
    return pd.DataFrame(rows, columns="weight rehearsed distilled seed stage task n_test accuracy bpd".split())


def write(folder: Path, standard: str, robust: str, full: bool, shape: tuple[int, int, int] | None = None) -> None:
    """Every file of the lens that figures read, in the study's results/; not `full`, as a study of minutes has them."""
    shape, n = shape or ((1, 28, 28) if full else (1, 8, 8)), 200 if full else 16
    sets, priors = (list(SETS), list(PRIORS)) if full else (list(FEW), ["glow", "shallow"])
    seeds, weights = ([0, 1, 2], [0.0, 10.0, 100.0, 1e3]) if full else ([0], [0.0, 10.0])
    tables, arrays = {"glow": glow(priors)}, {}
    tables["ladder"], arrays["ladder"] = ladder(sets, priors, shape, n)
    tables["simplify"], tables["simplify_history"], arrays["simplify"] = simplify(BEDS if full else FEW_BEDS, shape, n)
    tables["baselines"] = baselines(["images", "noise"] if full else ["images"], tables["simplify"])
    evaluators = ["convnet", "groupnorm"] if full else ["convnet"]
    condensed = condense([1, 10] if full else [1], weights, seeds, evaluators, shape)
    tables["condense"], tables["condense_history"], arrays["condense"] = condensed
    explained, arrays["explain"] = explain([standard, robust, RANDOMISED], seeds, 16 if full else 3, shape)
    tables |= explained
    tables["rehearse"] = rehearse(["usps", "letters", "own"] if full else ["digits", "own"], seeds, weights)
    for name, table in tables.items():
        write_csv(folder / f"results/simplicity/{name}.csv", table)
    for name, each in arrays.items():
        save_file(each, folder / f"results/simplicity/{name}.safetensors")
