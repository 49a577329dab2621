"""Methods are composed of blocks: none derives from another, and what is shared has two users."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest
import torch

from operators.methods import METHODS

ROOT = Path(__file__).parents[2]
BLOCKS, METHOD_FILES = ROOT / "operators" / "blocks", ROOT / "operators" / "methods"

# What is in prompt files that users have, by method; those of TPT and the like hold nothing.
NAMES = {
    "coop": {"context"},
    "kgcoop": {"context"},
    "prograd": {"context"},
    "pre": {
        "context",
        *(
            f"encoder.network.{kind}_{part}_l0{end}"
            for kind in ("weight", "bias")
            for part in ("ih", "hh")
            for end in ("", "_reverse")
        ),
    },
    "cocoop": {"context", "narrow.weight", "narrow.bias", "widen.weight", "widen.bias"},
    "ivlp": {"text", "image"},
    "promptsrc": {"text", "image"},
    "dpl-dec": {"text", "image"},
    "vpt": {"image"},
    "maple": {"text", "coupling.weight", "coupling.bias"},
    "coprompt": {
        *("text", "coupling.weight", "coupling.bias"),
        *(f"{tower}_adapter.{part}" for tower in ("image", "text") for part in ("down", "up")),
    },
    "clip-adapter": {"adapter.down", "adapter.up"},
    "tip-adapter": {"keys", "values", "scalars"},
    "tip-adapter-f": {"keys", "values", "scalars"},
}


def imported(path):
    """What a file imports: modules, and names of modules behind a dot."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def named_in(nodes):
    """The names that some code reads."""
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}


@pytest.mark.parametrize("name", METHODS)
def test_no_method_derives_from_another(name):
    others = set(METHODS.values()) - {METHODS[name]}
    above = [base for base in METHODS[name].__mro__ if base in others]
    assert not above, f"{name} derives from {above[0].__name__}: hold its block in place of it"


@pytest.mark.parametrize("name", METHODS)
def test_no_method_reads_the_file_of_another(name):
    own = METHODS[name].__module__
    others = {method.__module__ for method in METHODS.values()} - {own}
    found = others & imported(ROOT / f"{own.replace('.', '/')}.py")
    assert not found, f"{name} imports {found}: what two methods use is a block"


def test_a_block_has_two_users_at_least():
    users = defaultdict(set)
    for path in (ROOT / "operators").rglob("*.py"):
        for module in imported(path):
            if module.startswith("operators.blocks."):
                users[module].add(path)
    for block in BLOCKS.glob("[!_]*.py"):
        found = users[f"operators.blocks.{block.stem}"]
        assert len(found) > 1, f"{block.name} has {len(found)} users: it belongs to its method"


def test_what_blocks_offer_has_two_users_or_one_that_is_no_method():
    users = defaultdict(set)
    for path in (ROOT / "operators").rglob("*.py"):
        for name in imported(path):
            users[name].add(path)
    for path in BLOCKS.glob("[!_]*.py"):
        body = ast.parse(path.read_text()).body
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
                continue
            others = [other for other in body if other is not node]
            found = users[f"operators.blocks.{path.stem}.{node.name}"]
            inside = named_in(others) & {node.name}
            lone = len(found) == 1 and not inside and METHOD_FILES in next(iter(found)).parents
            assert not lone, f"{path.name}: {node.name} belongs to the one method that uses it"
            assert found or inside, f"{path.name}: nothing uses {node.name}"


@pytest.mark.parametrize("name", NAMES)
def test_names_in_a_prompt_file_are_those_that_users_have(name, clip, classes):
    method = METHODS[name](clip, classes, generator=torch.Generator())
    assert set(method.learned()) == NAMES[name]
    assert set(method.state_dict()) == NAMES[name]
    assert {key for key, _ in method.named_parameters()} <= NAMES[name]
    drawn = {key: torch.rand_like(value) for key, value in method.learned().items()}
    twin = METHODS[name](clip, classes, generator=torch.Generator())
    assert not twin.load_state_dict(drawn).missing_keys
    assert all(torch.equal(value, drawn[key]) for key, value in twin.learned().items())


def test_a_name_that_is_not_in_the_method_is_refused(clip, classes):
    method = METHODS["coop"](clip, classes, generator=torch.Generator())
    with pytest.raises(RuntimeError, match="other"):
        method.load_state_dict({**method.learned(), "other": torch.zeros(1)})
