"""What docstrings of `operators` and `data_catalog` say of arguments; CONTRIBUTING has the rule."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("operators", "data_catalog")
SEE = re.compile(r"[Ss]ee\s+`([A-Za-z_][\w.]*)`")
ENTRY = re.compile(r"    \*{0,2}(\w+)(?: \([^)]*\))?: *(.*)")
EXAMPLE = re.compile(r'^```python title="([\w/]+\.py)"\n(.*?)^```', re.M | re.S)


class Described(NamedTuple):
    """A function, or a class with its constructor, and what a docstring says of the arguments.

    Attributes:
        place: File and line.
        name: `Class.method`, `function` or `Class`.
        arguments: Those that must be described, without `self`, `cls` and `_unread`.
        rest: Those that may be: `*args` and `**kwargs`.
        args: What stands under `Args:`, by name.
        attributes: What stands under `Attributes:`; for a constructor it counts as well.
        references: Names of the functions that it says to see.
    """

    place: str
    name: str
    arguments: tuple[str, ...]
    rest: tuple[str, ...]
    args: dict[str, str]
    attributes: dict[str, str]
    references: list[str]


def section(docstring: str, heading: str) -> dict[str, str]:
    """What stands under a heading, by name."""
    found: dict[str, str] = {}
    inside, name = False, ""
    for line in docstring.splitlines():
        if line and not line.startswith(" "):
            inside = line == heading
        elif inside and (entry := ENTRY.match(line)):
            name = entry[1]
            found[name] = entry[2]
        elif inside and name:
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def described(node: ast.ClassDef | ast.FunctionDef, place: str, owner: str) -> Described:
    """A public node of a module or of a public class."""
    text = ast.get_docstring(node) or ""
    function = node
    if isinstance(node, ast.ClassDef):
        made = (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
        function = next(made, None)
        text += f"\n\n{ast.get_docstring(function) or ''}" if function else ""
    names, rest = [], ()
    if isinstance(function, ast.FunctionDef):
        spec = function.args
        names = [argument.arg for argument in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
        rest = tuple(argument.arg for argument in (spec.vararg, spec.kwarg) if argument)
        if names[:1] in (["self"], ["cls"]):
            names = names[1:]
    references = SEE.findall(text)
    references += [f"{owner}{name}" for name in references]  # of the same class
    return Described(
        f"{place}:{node.lineno}",
        f"{owner}{node.name}",
        tuple(name for name in names if not name.startswith("_")),
        rest,
        section(text, "Args:"),
        section(text, "Attributes:") if isinstance(node, ast.ClassDef) else {},
        references,
    )


def public(body: list[ast.stmt], place: str, owner: str = "") -> Iterator[Described]:
    """Functions and classes of a module, and the methods of its public classes."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield described(node, place, owner)
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, place, f"{owner}{node.name}.")


def of_package(package: str) -> Iterator[Described]:
    """All modules of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        place = str(path.relative_to(ROOT))
        yield from public(ast.parse(path.read_text(encoding="utf-8")).body, place)


def faults(functions: Iterable[Described], beside: Iterable[Described] = ()) -> Iterator[str]:
    """What breaks the rule in some functions, one sentence each; they may refer to those beside."""
    functions = list(functions)
    known: dict[str, set[str]] = {}
    for one in (*functions, *beside):
        known.setdefault(one.name, set()).update(one.args, one.attributes)
    for one in functions:
        where = f"{one.place} {one.name}"
        said = known[one.name].union(*(known.get(name, ()) for name in one.references))
        missing = [name for name in one.arguments if name not in said]
        if len(one.arguments) > 1 and missing:
            yield (
                f"{where} does not say what {', '.join(missing)} is: describe it under Args, or "
                "name what does, as in See `Class.method`."
            )
        for name, text in one.args.items():
            if name not in one.arguments + one.rest:
                yield f"{where} has no argument {name}."
            if set(re.findall(r"[a-z]+", text.lower())) <= {"the", "a", "an", *name.split("_")}:
                yield f"{where} describes {name} by its name."


@pytest.mark.parametrize("package", PACKAGES)
def test_every_argument_of_a_public_function_is_described(package):
    assert not (found := list(faults(of_package(package)))), "\n" + "\n".join(found)


def test_the_examples_of_contributing_keep_the_rule():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    examples = [
        (path, source) for path, source in EXAMPLE.findall(text) if path.split("/")[0] in PACKAGES
    ]
    assert len(examples) > 2
    known = [each for package in PACKAGES for each in of_package(package)]
    for path, source in examples:
        assert not list(faults(public(ast.parse(source).body, path), known))


def of(source: str) -> list[str]:
    """Faults of one module."""
    return list(faults(public(ast.parse(source).body, "module.py")))


def test_two_arguments_without_args_are_refused():
    assert of('def f(a, b):\n    """Does it."""\n') == [
        "module.py:1 f does not say what a, b is: describe it under Args, or name what does, as "
        "in See `Class.method`."
    ]


CONTRACT = '''
class A:
    def f(self, a, b):
        """Does it.

        Args:
            a: Of rows.
            b: Of columns.
        """
'''


def test_a_reference_describes_what_its_target_describes_and_no_more():
    assert not of(CONTRACT + 'class B:\n    def f(self, a, b):\n        """See `A.f`."""\n')
    assert of(CONTRACT + 'class B:\n    def f(self, a, b):\n        """See `A.g`."""\n')
    [fault] = of(CONTRACT + 'class B:\n    def f(self, a, c):\n        """See `A.f`."""\n')
    assert fault.startswith("module.py:11 B.f does not say what c is")


def test_the_class_describes_what_its_constructor_takes():
    made = "    def __init__(self, a, b):\n        pass\n"
    assert of(f'class A:\n    """One."""\n{made}')
    lines = '"""One.\n\n    Args:\n        a: Of x.\n        b: Of y.\n    """'
    assert not of(f"class A:\n    {lines}\n{made}")


def test_an_argument_that_is_gone_or_described_by_its_own_name_is_refused():
    lines = '"""Does it.\n\n    Args:\n        a_row: The row, a.\n        gone: Was one.\n    """'
    assert of(f"def f(a_row):\n    {lines}\n") == [
        "module.py:1 f describes a_row by its name.",
        "module.py:1 f has no argument gone.",
    ]
