"""The three descriptions of the environment agree with each other and with what the code imports."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
NEEDED_IN_TESTS = [Requirement(line) for line in PROJECT["optional-dependencies"]["test"]]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = [Requirement(line.removesuffix(" \\")) for line in LOCK.splitlines() if re.match(r"[a-z0-9]", line)]
OWNERS = packages_distributions()
CODE = ("fourlenses", "stages", "figures", "benchmarks", "tests")
SUPPORTED = ("3.11", "3.12")


def pinned(name: str, python: str) -> list[str]:
    """The versions that the lock gives a package on Linux with this Python."""
    machine = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux",
               "platform_system": "Linux", "platform_machine": "x86_64"}  # fmt: skip
    found = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(name)]
    return [str(pin.specifier).removeprefix("==") for pin in found if not pin.marker or pin.marker.evaluate(machine)]


@pytest.mark.parametrize("python", SUPPORTED)
@pytest.mark.parametrize("needed", NEEDED + NEEDED_IN_TESTS, ids=str)
def test_every_dependency_is_locked_in_its_range(needed: Requirement, python: str) -> None:
    versions = pinned(needed.name, python)
    assert len(versions) == 1
    assert needed.specifier.contains(versions[0])


def test_lock_has_exact_versions_and_hashes_and_no_place() -> None:
    for entry in re.split(r"\n(?! )", LOCK.strip()):
        head, *hashes = entry.split(" \\\n    ")
        assert re.fullmatch(r"[a-z0-9-]+==[\w.!+]+( ; .+)?", head), head
        assert hashes, head
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), head
    assert not re.search(r"://|^-|(^| )/\w", LOCK, re.M)


def test_conda_installs_the_lock() -> None:
    conda = YAML(typ="safe").load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert conda["name"] == PROJECT["name"]
    python, pip, packages = conda["dependencies"]
    assert python == f"python={SUPPORTED[0]}"
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(SUPPORTED[0])
    assert pip == "pip"
    assert packages == {"pip": ["-r requirements.lock"]}
    assert set(conda) == {"name", "channels", "dependencies"}


def third_party(folder: str) -> set[str]:
    """Top-level modules that the files of a folder import and that are neither Python's nor ours."""
    own = {*CODE, *(path.stem for path in (ROOT / folder).rglob("*.py") if folder in ("tests", "benchmarks"))}
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.partition(".")[0])
    return names - own - sys.stdlib_module_names


@pytest.mark.parametrize("folder", CODE)
def test_every_import_is_declared(folder: str) -> None:
    declared = {canonicalize_name(each.name) for each in NEEDED + NEEDED_IN_TESTS * (folder in ("tests", "benchmarks"))}
    missing = {module for module in third_party(folder)
               if not declared & {canonicalize_name(owner) for owner in OWNERS.get(module, [module])}}  # fmt: skip
    assert not missing


def test_every_dependency_is_used() -> None:
    used = {canonicalize_name(owner) for folder in CODE for module in third_party(folder) for owner in OWNERS[module]}
    used |= {"setuptools", "ruff"}  # they build and check; the rest is imported
    text = (ROOT / "tests/conftest.py").read_text(encoding="utf-8")
    used |= {name for name in ("beartype",) if name in text}  # named there, not imported
    assert not {canonicalize_name(each.name) for each in NEEDED + NEEDED_IN_TESTS} - used
