"""What dvc.yaml declares for a stage is what its code imports, reads and writes: DVC itself follows no import."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from fourlenses.params import Params

ROOT = Path(__file__).parents[1]
PACKAGES = ("fourlenses", "stages", "figures")
# The schema of the parameters is no dependency: their values are, and a new parameter must not train the zoo again.
EXEMPT = {"fourlenses/params.py", "fourlenses/sections.py", *(f"{package}/__init__.py" for package in PACKAGES)}
MOST_STAGES = 50


def read_yaml(path: Path) -> dict:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


PIPELINE = read_yaml(ROOT / "dvc.yaml")["stages"]
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE.items()}
every_stage = pytest.mark.parametrize("name", STAGES)


def declared(name: str, *kinds: str) -> set[str]:
    """Paths or keys that a stage lists; what belongs to the code is named from the repository's root."""
    entries = [entry for kind in kinds for entry in STAGES[name].get(kind, [])]
    return {(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in entries}


def module_of(name: str) -> str:
    return re.fullmatch(r"python -m ([\w.]+)( .*)?", STAGES[name]["cmd"], re.S)[1]


def file_of(module: str) -> Path | None:
    """The source of a first-party module, None for anything else."""
    path = ROOT.joinpath(*module.split("."))
    found = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    return found[0] if module.split(".")[0] in PACKAGES and found else None


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Every module that a file may import, wherever the statement stands."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def closure(module: str) -> set[str]:
    """Files of this project that a module stands on: sources, and files beside them that a source names."""
    found, waiting = set(), [module]
    while waiting:
        parts = waiting.pop().split(".")
        for name in (".".join(parts[: i + 1]) for i in range(len(parts))):  # a package's __init__ runs too
            path = file_of(name)
            if path and path not in found:
                found.add(path)
                waiting += imports(path)
                texts = {node.value for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant)}
                found |= {file for file in path.parent.iterdir() if file.name in texts and file.is_file()}
    return {path.relative_to(ROOT).as_posix() for path in found}


def covers(path: str, file: str) -> bool:
    return path in (file, ".") or file.startswith(f"{path}/")


@every_stage
def test_every_imported_file_is_a_dependency(name: str) -> None:
    deps = {dep.removeprefix("${root}/") for dep in declared(name, "deps") if dep.startswith("${root}/")}
    needed = closure(module_of(name)) - EXEMPT
    assert not {file for file in needed if not any(covers(dep, file) for dep in deps)}, "missing in deps"
    code = {dep for dep in deps if dep.split("/")[0] in PACKAGES}
    assert not {dep for dep in code if not any(covers(dep, file) for file in needed)}, "in deps, but not imported"


def test_imports_inside_functions_are_followed() -> None:
    assert "fourlenses/nets/bridge.py" in closure("stages.train")
    assert "figures/style.mplstyle" in closure("stages.draw")


def keys_read(path: Path) -> set[str]:
    """Leaves of params.yaml that a stage reads; `networks[]` for one network of it.

    Fails unless each use of the parameters is a chain of attributes down to a leaf, which is what can be proved.
    """
    tree = parsed(path)
    parent = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    keys = set()
    for node in ast.walk(tree):
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "read_params"
        if is_call and isinstance(parent[node], ast.Assign):
            assert [ast.unparse(target) for target in parent[node].targets] == ["params"], f"{path}: name it params"
        elif is_call or (isinstance(node, ast.Name) and node.id == "params" and isinstance(node.ctx, ast.Load)):
            chain, model = [], Params
            while isinstance(model, type) and issubclass(model, BaseModel):
                node = parent[node]
                assert isinstance(node, ast.Attribute), f"{path}:{node.lineno}: {ast.unparse(node)} is no leaf"
                chain.append(node.attr)
                model = model.model_fields[node.attr].annotation
            one = isinstance(parent[node], ast.Subscript) and parent[node].value is node
            keys.add(".".join(chain) + "[]" * (one and getattr(model, "__origin__", None) is dict))
    return keys


@every_stage
def test_parameters_read_are_parameters_declared(name: str) -> None:
    keys = {re.sub(r"\.\$\{(key|item)\}$", "[]", key) for key in declared(name, "params")}
    assert keys == keys_read(file_of(module_of(name)))


def test_every_parameter_is_used() -> None:
    leaves = {f"{key}.{leaf}" for key, field in Params.model_fields.items() if isinstance(field.annotation, type)
              and issubclass(field.annotation, BaseModel) for leaf in field.annotation.model_fields}  # fmt: skip
    used = set().union(*(keys_read(file_of(module_of(name))) for name in STAGES))
    used |= set(re.findall(r"\$\{([\w.]+)\}", (ROOT / "dvc.yaml").read_text(encoding="utf-8")))
    assert not leaves - used


def paths_in(name: str) -> list[str]:
    """Values of the command's options that the stage's `main` takes as paths."""
    main = next(node for node in parsed(file_of(module_of(name))).body if getattr(node, "name", "") == "main")
    types = {f"--{each.arg.replace('_', '-')}": ast.unparse(each.annotation) for each in main.args.args}
    values, kind = [], ""
    for word in shlex.split(STAGES[name]["cmd"])[3:]:
        if word.startswith("--"):
            kind = types[word]
        elif kind in ("Path", "list[Path]"):
            values.append(word)
    return values


@every_stage
def test_paths_of_the_command_are_declared(name: str) -> None:
    files = declared(name, "deps", "outs", "metrics", "plots")
    values = paths_in(name)
    assert values
    assert not [value for value in values if not any(covers(value, file) for file in files)]


@every_stage
def test_the_manifest_is_declared_under_the_name_that_the_stage_gives_it(name: str) -> None:
    call = next(node for node in ast.walk(parsed(file_of(module_of(name))))
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "runtime.stage")  # fmt: skip
    words = shlex.split(STAGES[name]["cmd"])
    label = [each.value if isinstance(each, ast.Constant) else words[words.index(f"--{each.id}") + 1]
             for each in call.args]  # fmt: skip
    manifests = {out for out in declared(name, "outs", "plots") if out.startswith("results/manifests/")}
    assert manifests == {f"results/manifests/{'@'.join(label)}.json"}


@every_stage
def test_a_stage_that_ran_before_is_restored(name: str) -> None:
    """DVC keeps no run in its cache when an uncached file is among the `outs`; with cached ones that costs hours."""
    outs = STAGES[name].get("outs", [])
    uncached = [out for out in outs if isinstance(out, dict) and not next(iter(out.values())).get("cache", True)]
    assert len(uncached) in (0, len(outs))


@every_stage
def test_stages_take_lists_and_look_for_no_files(name: str) -> None:
    """What a shrunken matrix leaves behind must not slip in."""
    own = {file for file in closure(module_of(name)) if file.split("/")[0] in ("stages", "figures")}
    calls = r"\b(i?glob|rglob|iterdir|listdir|scandir|walk)\("
    assert not [file for file in own if re.search(calls, (ROOT / file).read_text(encoding="utf-8"))]


@pytest.mark.parametrize("folder", [path.parent for path in sorted(ROOT.glob("studies/*/params.yaml"))], ids=str)
def test_studies_share_the_pipeline(folder: Path) -> None:
    assert (folder / "dvc.yaml").is_symlink()
    assert (folder / "dvc.yaml").readlink().as_posix() == "../../dvc.yaml"


@pytest.mark.parametrize("params", [ROOT / "params.yaml", *sorted(ROOT.glob("studies/*/params.yaml"))], ids=str)
def test_a_study_has_few_stages(params: Path) -> None:
    """DVC takes seconds to look at hundreds."""
    values = read_yaml(params)
    expanded = 0
    for stage in PIPELINE.values():
        assert "matrix" not in stage, "count it here"
        each = stage.get("foreach", "1")
        expanded += len(values[each[2:-1]] if isinstance(each, str) and each.startswith("${") else each)
    assert len(PIPELINE) <= expanded <= MOST_STAGES
