"""What is known of a published dataset: a filled form, and a reader of its files."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from data_catalog.published.tree import LayoutError, Tree
from data_catalog.wording import some

# Ways in which the rows of a dataset come to splits, as keys of `PublishedDataset.counts`.
SPLIT_FILE = "split file"  # the file that CoOp's code publishes
RULE = "published rule"  # what made that file, where the file is not there
OFFICIAL = "official"  # the splits of the dataset's authors, as most mirrors have them

_DRIVE = re.compile(r"https://drive\.google\.com/uc\?(?:[^#]*&)?id=([\w-]+)[^#]*")


class Row(NamedTuple):
    """One labelled example, before its content is read.

    Attributes:
        path: File below the place of the dataset; of packed contents, a name for messages.
        label: Class index, or None where only the name is known.
        class_name: Name of the class, cleaned; None where `PublishedDataset.classes` has it.
        split: train, val or test; None leaves it to the rule of ingestion.
        domain: Domain, of datasets that have them.
        extras: Further columns, such as a second label.
    """

    path: str
    label: int | None
    class_name: str | None
    split: str | None
    domain: str | None = None
    extras: Mapping[str, Any] = MappingProxyType({})


class Reading(NamedTuple):
    """What a reader found.

    Attributes:
        rows: Every row, train before val before test, in the order that a draw sees.
        splits: How they came about, a key of `PublishedDataset.counts`; empty for a way of the
            user's own, whose counts and names nobody knows.
        rule: The same in words, for people.
        contents: Yields the content of each row, where no file holds one alone.
        notes: What a person should know, a sentence each without its full stop.
    """

    rows: Sequence[Row]
    splits: str
    rule: str
    contents: Callable[[], Iterator[bytes]] | None = None
    notes: tuple[str, ...] = ()


class TemplateSet(NamedTuple):
    """Prompts of a class under a name.

    Attributes:
        template: The prompt, with `{}` for the class name.
        templates: The ensemble; empty for `template` alone.
        source: Whose they are.
    """

    template: str
    templates: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file, or a dataset of a hub, that holds all or a part of a published dataset.

    Attributes:
        url: Where it is; `hf://datasets/owner/name` for a dataset of the Hugging Face hub.
        holds: What is in it.
        into: Folder that it is unpacked or put into, below that of the dataset; empty for itself.
        file: What the file is called, where its URL ends with something else.
        mirror: Whether it is a copy that others keep: of the file of its name where the authors
            have one that is called so, else of the whole dataset, alone or with its neighbours.
        optional: Whether the dataset can be read without it, such as a split file whose rule is
            known.
        sha256: Digest in hex; empty where no public source has it.
        md5: Likewise.
        revision: Commit of a hub.
        size_bytes: Size; None where no public source has it.
        checked_by: Which public source has digest, revision and size.
    """

    url: str
    holds: str
    into: str = ""
    file: str = ""
    mirror: bool = False
    optional: bool = False
    sha256: str = ""
    md5: str = ""
    revision: str = ""
    size_bytes: int | None = None
    checked_by: str = ""

    def page(self) -> str:
        """Where a person finds it: of Google Drive, the page of the file.

        The id in the query of a link is hidden wherever secrets are, and that in a path is not.
        """
        return _DRIVE.sub(r"https://drive.google.com/file/d/\1/view", self.url)


@dataclass(frozen=True, kw_only=True)
class PublishedDataset:
    """Facts of a dataset that users fetch, and how its files are read as they lie on disk.

    Attributes:
        name: What users type, as on the board.
        title: Name for people.
        description: What the examples show.
        license: Licence of the examples; what is not known is said.
        citation: Publication to cite.
        homepage: Where it is described.
        trouble: Known trouble, and what a user should do about it.
        template_sets: Prompts by name; the first one is taken where none is asked for.
        split_rule: How train, val and test come about, in a sentence.
        counts: Rows by split of each way in which they may come about, which is what ingestion
            must find; a way that is not here is not checked.
        reader: From the files to rows.
        layout: The files that it looks for, in a phrase.
        by_hand: One sentence: what to fetch where, and where to put it.
        downloads: What can be fetched, the official sources first.
        classes: Names in label order; None takes those that the files give.
        cleaned: From a class as its authors call it, such as its folder, to its name here; mirrors
            have either.
        duplicate_class_names: Whether two labels may share a name.
        domains: Rows by domain; empty without domains.
        unseen_classes: Whether classes without train rows are meant, as in zero-shot learning.
        kind: What an example is, a key of `KINDS`.
        revision: Moves when the same files would give other rows.
    """

    name: str
    title: str
    description: str
    license: str
    citation: str
    homepage: str
    trouble: str
    template_sets: Mapping[str, TemplateSet]
    split_rule: str
    counts: Mapping[str, Mapping[str, int]]
    reader: Callable[[Tree], Reading]
    layout: str
    by_hand: str
    downloads: tuple[Download, ...] = ()
    classes: tuple[str, ...] | None = None
    cleaned: Callable[[str], str] = str
    duplicate_class_names: bool = False
    domains: Mapping[str, int] = field(default_factory=dict)
    unseen_classes: bool = False
    kind: str = "image"
    revision: int = 1

    def read(self, tree: Tree) -> Reading:
        """The rows of its files, with the names that it should have.

        Raises:
            LayoutError: A file is missing or malformed, a class is called otherwise, or a domain
                has another number of images.
        """
        reading = self.reader(tree)
        if not reading.rows:
            raise LayoutError(f"no {self.kind} of {self.title} at {tree.place}: {self.layout}")
        if reading.contents is None and not any(tree.has(row.path) for row in reading.rows):
            raise LayoutError(
                f"no {self.kind} of {self.title} is in {tree.place}, such as {reading.rows[0].path}"
            )
        if self.classes is not None and reading.splits:
            _check_names(self.title, self.classes, reading.rows)
        if self.domains and reading.splits:
            here = (row.domain for row in reading.rows if tree.has(row.path))
            check_domains(self, Counter(filter(None, here)))
        return reading

    def template_set(self, name: str = "") -> TemplateSet:
        """The prompts of a name; without one, the first.

        Raises:
            ValueError: There is none of this name; those that are there are named.
        """
        known = self.template_sets
        if name and name not in known:
            raise ValueError(
                f"{self.name} has no template set {name!r}. There is: {', '.join(known)}. "
                "Prompts of your own are given with --template."
            )
        return known[name or next(iter(known))]


def check_domains(dataset: PublishedDataset, found: Mapping[str, int]) -> None:
    """Refuses domains that have more or fewer rows than those of the dataset.

    Args:
        dataset: What is known.
        found: Rows by domain that are here.

    Raises:
        LayoutError: They differ; the message has each number.
    """
    differ = [
        f"{domain} has {found.get(domain, 0):,} and not {dataset.domains.get(domain, 0):,}"
        for domain in dict.fromkeys([*dataset.domains, *found])
        if found.get(domain, 0) != dataset.domains.get(domain, 0)
    ]
    if differ:
        raise LayoutError(
            f"the {dataset.kind}s by domain are not those of {dataset.title}: {'; '.join(differ)}. "
            "Fetch what is missing; a part is registered under another name, without --published"
        )


def _check_names(title: str, classes: Sequence[str], rows: Sequence[Row]) -> None:
    """Refuses labels and names that are not those of the dataset."""
    wrong = {}
    for row in rows:
        if row.label is None or row.class_name is None:
            expected = row.class_name if row.class_name in classes else None
            known = row.class_name is None or expected is not None
        else:
            expected = classes[row.label] if 0 <= row.label < len(classes) else None
            known = row.class_name == expected
        if not known:
            wrong.setdefault((row.label, row.class_name), expected)
    if wrong:
        said = some(
            (
                f"label {label} is called {name!r}, and is {expected!r}"
                if expected is not None
                else f"no class is label {label}, {name!r}"
                for (label, name), expected in wrong.items()
            ),
            3,
        )
        raise LayoutError(
            f"the files give other classes than the {len(classes)} of {title}: {said}. Fetch its "
            "files again; other data is registered under another name, without --published"
        )
