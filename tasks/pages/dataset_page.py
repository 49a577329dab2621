"""What is known of published datasets, as docs/datasets.md."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tasks.plain_text import Marked, markdown_table

if TYPE_CHECKING:
    from data_catalog.published import Download, PublishedDataset

COMMAND = "shotboard datasets page > docs/datasets.md"


def page() -> str:
    """All published datasets that are known as Markdown."""
    from data_catalog.published import PUBLISHED

    known = list(PUBLISHED.values())
    parts = [
        "# Datasets",
        f"Written by `{COMMAND}` from the files of `data_catalog/published/`: change one and run "
        "it again.",
        "None of these ships. `shotboard datasets get NAME` fetches one where it can, and "
        "`shotboard datasets add NAME --path FOLDER` registers files that are there, in the layout "
        "that stands below, such as CoOp's. Rows by split and class names are checked; what "
        "differs is refused by name. `--template-set` chooses the prompts, and is part of a "
        "trial's identity.",
        _table(
            ["dataset", "kind", "classes", "train", "val", "test", "licence"],
            [_row(each) for each in known],
        ),
    ]
    for each in known:
        parts += [f"## {each.name}", f"**{each.title}.** {each.description}", _facts(each)]
        parts.append(_prompts(each))
        if each.downloads:
            parts.append(_files(each.downloads))
    return "\n\n".join(parts) + "\n"


def _row(dataset: "PublishedDataset") -> list[str]:
    counts = next(iter(dataset.counts.values()), {})
    return [
        f"[{dataset.name}](#{dataset.name})",
        dataset.kind,
        f"{len(dataset.classes)}" if dataset.classes else "",
        *(f"{counts[split]:,}" if split in counts else "" for split in ("train", "val", "test")),
        dataset.license,
    ]


def _facts(dataset: "PublishedDataset") -> str:
    facts = {
        "citation": dataset.citation,
        "splits": dataset.split_rule,
        **{f"rows, {way}": _counts(counts) for way, counts in dataset.counts.items()},
        "rows by domain": _counts(dataset.domains),
        "layout": dataset.layout,
        "by hand": f"{dataset.by_hand}.",
        "trouble": dataset.trouble,
    }
    told = {key: value.replace("<", "&lt;") for key, value in facts.items() if value}
    lines = {"homepage": f"<{dataset.homepage}>", **told}
    return "\n".join(f"- {key}: {value}" for key, value in lines.items())


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{part} {count:,}" for part, count in counts.items())


def _prompts(dataset: "PublishedDataset") -> str:
    return _table(
        ["template set", "prompts", "whose"],
        [
            [f"`{name}`", " · ".join(each.templates or (each.template,)), each.source]
            for name, each in dataset.template_sets.items()
        ],
    )


def _files(downloads: Sequence["Download"]) -> str:
    return _table(
        ["file", "holds", "bytes", "pinned by"],
        [
            [
                f"<{each.page()}>",
                f"{each.holds}{' (a mirror)' if each.mirror else ''}",
                f"{each.size_bytes:,}" if each.size_bytes is not None else "",
                _pinned(each),
            ]
            for each in downloads
        ],
    )


def _pinned(download: "Download") -> str:
    """The digests and the commit of a file, and who published them."""
    digests = {"sha256": download.sha256, "md5": download.md5, "commit": download.revision}
    said = [f"{kind} `{digits}`" for kind, digits in digests.items() if digits]
    said += [download.checked_by] * bool(download.checked_by)
    return "; ".join(said) or "nothing: no public source has a digest"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are Markdown, as facts are written."""
    return markdown_table(columns, (map(Marked, row) for row in rows)).rstrip()
