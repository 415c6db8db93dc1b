"""Rewrite the parts of README.md that are made of results: verdicts, accuracies, minutes, speed."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML

from fourlenses import runtime
from fourlenses.artifacts import atomic_path, read_csv, read_json
from fourlenses.errors import UserError

STUDIES = {  # whose results the README shows
    "MNIST-5k": Path(),
    "Fashion-MNIST": Path("studies/fashion"),
    "cifar10-jpeg75": Path("studies/cifar10-jpeg75"),
}
RECIPES = Path("studies/recipes")  # which ends before the verdicts
BENCHMARKS = Path("benchmarks/results.csv")
NORMS = {"l2": "L2", "linf": "Linf"}
Studies = dict[str, Path]


def main(readme: Path = Path("README.md")) -> None:
    """Rewrite what stands between `<!-- name -->` and `<!-- /name -->`, from the results of the studies that have run.

    Args:
        readme: the file to rewrite
    """
    text, found = readme.read_text(encoding="utf-8"), studies()
    for name, make in PARTS.items():
        text = replaced(text, name, make(found) if found else "")
    with atomic_path(readme) as temporary:
        temporary.write_text(text, encoding="utf-8")


def studies() -> Studies:
    """The studies that have results, below the current folder."""
    return {title: folder for title, folder in STUDIES.items() if (folder / "results/claims.csv").exists()}


def replaced(text: str, name: str, content: str) -> str:
    """The text with another content in its part of this name; raises UserError if it has no such part."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise UserError(f"no part {name} in the README", f"one pair {start.strip()} and {end}", "add it")
    before, after = text.split(start)
    return before + start + content + end + after.split(end)[1]


def claims(studies: Studies) -> str:
    """One row a claim; in the column of each study its verdict and the number that decided it."""
    tables = {title: read_csv(folder / "results/claims.csv").set_index("claim") for title, folder in studies.items()}
    units = {title: _units(read_csv(folder / "results/tests.csv")) for title, folder in studies.items()}
    first = next(iter(tables.values()))
    rows = []
    for claim, statement in first["statement"].items():
        cells = [_verdict(tables[title].loc[claim], units[title]) if claim in tables[title].index else "–"
                 for title in studies]  # fmt: skip
        rows.append([claim, re.split(r"[:.]( |$)", statement)[0], *cells])
    return _table(["claim", "statement, in short", *studies], rows)


def _units(tests: pd.DataFrame) -> dict[tuple[str, str], str]:
    return dict(zip(zip(tests["claim"], tests["quantity"], strict=True), tests["unit"], strict=True))


def _verdict(row: pd.Series, units: dict[tuple[str, str], str]) -> str:
    if row["verdict"] == "not tested":
        return f"**not tested**: {row['reason']}"
    unit = units[row.name, row["quantity"]]
    shown = f"{row['effect']:.3g} [{row['low']:.3g}, {row['high']:.3g}]" + (f" {unit}" if unit in ("pp", "%") else "")
    return f"**{row['verdict']}**: {row['quantity']} {shown}, sought {row['threshold']}"


def accuracy(studies: Studies) -> str:
    """One row a network; in the columns of each study its accuracy, clean and under attack."""
    metrics, notes = {}, []
    for title, folder in studies.items():
        networks = dict.fromkeys(read_csv(folder / "results/alignment.csv")["network"])  # in the order of params.yaml
        metrics[title] = {name: read_json(folder / f"results/train/{name}.json") for name in networks}
        some = list(metrics[title].values())
        radii = dict.fromkeys(f"{NORMS[each['attack']['norm']]} {each['attack']['eps']:g}" for each in some)
        seeds, n = len(some[0]["seeds"]), some[0]["seeds"][0]["clean"]["n"]
        what = f"{seeds} training seed{'s' * (seeds > 1)}, {n:,} test images"
        notes.append(f"{title}: {what}, radius {', '.join(radii)}.")
    rows = [
        [name, *(_accuracy(metrics[title].get(name), kind) for title in studies for kind in ("clean", "robust"))]
        for name in dict.fromkeys(name for found in metrics.values() for name in found)
    ]
    header = ["network", *(f"{title}, {kind}" for title in studies for kind in ("clean", "PGD-20"))]
    over = "Mean over training seeds; the interval spans the intervals of the seeds."
    return _table(header, rows) + "\n" + " ".join([*notes, over]) + "\n"


def _accuracy(metrics: dict | None, kind: str) -> str:
    if metrics is None:
        return "–"
    found = pd.DataFrame([seed[kind] for seed in metrics["seeds"]])
    return f"{found['value'].mean():.3f} [{found['low'].min():.3f}, {found['high'].max():.3f}]"


def recipes(_: Studies) -> str:
    """One row a network of the recipes' study: its accuracy, and the alignment of its IRIs by every loss."""
    path = RECIPES / "results/alignment.csv"
    if not path.exists():
        return ""
    table = read_csv(path)
    table = table[(table["judge"] == "median") & (table["targets"] == "test")]
    losses = list(dict.fromkeys(table["loss"]))
    rows = []
    for network, group in table.groupby("network", sort=False):
        metrics, cells = read_json(RECIPES / f"results/train/{network}.json"), group.set_index("loss")
        aligned = [f"{cells.loc[loss, 'alignment']:.1f} [{cells.loc[loss, 'low']:.1f}, {cells.loc[loss, 'high']:.1f}]"
                   f", {cells.loc[loss, 'error_mean']:.3f}" for loss in losses]  # fmt: skip
        rows.append([network, _accuracy(metrics, "clean"), _accuracy(metrics, "robust"), *aligned])
    about = (
        "On Fashion-MNIST, at half the width and three epochs: beta of TRADES and MART, the max-pool head, and VGG "
        "without augmentation. Alignment in % (median judge) with its interval, then the representation error, by loss:"
    )
    header = ["network", "clean", "PGD-20", *(f"alignment, error: {loss}" for loss in losses)]
    return f"{about}\n\n{_table(header, rows)}"


def minutes(studies: Studies) -> str:
    """One row a stage: what it makes, by which command, and the minutes that it and all before it took."""
    pipeline = YAML(typ="safe").load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    spent, notes = {}, []
    for title, folder in studies.items():
        runs = read_csv(folder / "results/runs.csv")
        spent[title] = _seconds(folder, runs)
        computed = runs.dropna(subset="torch")
        kinds = [", ".join(map(str, sorted(computed[each].unique()))) for each in ("device", "threads", "torch")]
        notes.append(f"{title}: {kinds[0]}, {runs['cores'].max()} cores, threads: {kinds[1]}, PyTorch {kinds[2]}, "
                     f"at most {runs['peak_memory_mib'].max() / 1024:.1f} GiB.")  # fmt: skip
    rows = []
    for name, entry in pipeline.items():
        stage = entry.get("do", entry)
        took = [_minutes(spent[title].get(name)) for title in studies]
        rows.append([stage["desc"], _link(stage), f"`dvc repro {name}`", *took])
    rows.append(["Everything", "", "`make repro`", *(_minutes(spent[title][""]) for title in studies)])
    header = ["what", "where", "command", *(f"{title}, minutes" for title in studies)]
    return _table(header, rows) + "\nA stage counts with all that it stands on. " + " ".join(notes) + "\n"


def _link(stage: dict) -> str:
    """Where the first output that is in Git lies; of a stage with items, the folder of all of them."""
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    path = next(next(iter(entry)) for entry in entries if isinstance(entry, dict))
    path = path.rpartition("/")[0] if "$" in path else path
    return f"[{path}]({path})"


def _minutes(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / 60:.1f}" if seconds >= 3 else "< 0.1"


def _seconds(folder: Path, runs: pd.DataFrame) -> dict[str, float]:
    """Seconds of each stage with all that it stands on (its items one after the other), and of everything as ""."""
    lock = folder / "dvc.lock"
    if not lock.exists():
        raise UserError(f"no {lock}", "a study that has run", f"run `dvc repro {folder / 'dvc.yaml'}`")
    stages = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))["stages"]
    labels = runs["stage"] + ("@" + runs["item"].fillna("")).where(runs["item"].notna(), "")
    logged = dict(zip(labels, runs["seconds"], strict=True))
    maker, alone = {}, {}
    for stage, entry in stages.items():
        made = [out["path"] for out in entry["outs"]]
        maker |= dict.fromkeys(made, stage)
        alone[stage] = logged[next(Path(path).stem for path in made if path.startswith("results/manifests/"))]

    @cache
    def before(stage: str) -> set[str]:
        needs = [dep["path"] for dep in stages[stage].get("deps", [])]
        direct = {
            other for path, other in maker.items() for need in needs if _within(path, need) or _within(need, path)
        }
        return {stage}.union(*map(before, direct))

    groups: dict[str, set[str]] = {"": set(stages)}
    for stage in stages:
        groups.setdefault(stage.partition("@")[0], set()).update(before(stage))
    return {name: sum(alone[stage] for stage in group) for name, group in groups.items()}


def _within(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def benchmarks(_: Studies) -> str:
    """One row a benchmark and device: the rate or the seconds of both sides, and how many times faster ours is."""
    if not BENCHMARKS.exists():
        return ""
    rows = []
    for each in read_csv(BENCHMARKS).itertuples():
        ratio = f"{each.ratio:.3g}" if each.ratio < 100 else f"{each.ratio:,.0f}"
        sides = (f"{rate:g} {each.unit}" for rate in (each.ours, each.peer))
        rows.append([each.name, each.device, *sides, each.peer_name, f"**{ratio}**"])
    return _table(["hot path", "device", "ours", "peer", "which peer", "times as fast"], rows)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |\n" for line in lines)


PARTS: dict[str, Callable[[Studies], str]] = {
    "claims": claims, "accuracy": accuracy, "recipes": recipes, "minutes": minutes, "benchmarks": benchmarks,
}  # fmt: skip

if __name__ == "__main__":
    runtime.run(main)
