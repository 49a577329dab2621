"""What a dataset will be, as one HTML page to look at before it is registered."""

from base64 import b64encode
from collections.abc import Iterator, Sequence

from data_catalog import DatasetCard, Outline
from data_catalog.kinds import KINDS
from data_catalog.samples import A_CLASS, CLASSES, UNSORTED, ClassSample, Sample, class_samples
from data_catalog.wording import plural
from tasks.plain_text import in_html

_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#ccc, #444); --dim: light-dark(#555, #aaa);
  --bad: light-dark(#b00020, #ff8a80) }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75rem;
  margin: 1.5rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin: 0 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem }
dt, .dim { color: var(--dim) } dd { margin: 0; overflow-wrap: anywhere }
section { border-top: 1px solid var(--line); padding: .8rem 0 }
.row { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: .5rem }
figure { margin: 0; width: 9rem; overflow-wrap: anywhere } figure.text { width: 100% }
img { image-rendering: auto; max-width: 96px; max-height: 96px; border: 1px solid var(--line) }
figcaption { font-size: .78rem; color: var(--dim) } .bad { color: var(--bad) }
"""


def contact_sheet(card: DatasetCard, found: Outline) -> bytes:
    """One HTML file, which needs no network: classes, counts, notes, and some of each class.

    Args:
        card: Of the dataset; examples are read and nothing is stored.
        found: What was understood of it.

    Raises:
        SourceError: The source is missing or malformed.
    """
    classes = class_samples(card, found)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{in_html(card.name)}: before it is registered</title>",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{in_html(card.name)}</h1>",
        *_head(card, found, classes),
        *(part for each in classes for part in _section(card, each)),
        "</body></html>",
    ]
    return "\n".join(parts).encode()


def _head(card: DatasetCard, found: Outline, classes: Sequence[ClassSample]) -> Iterator[str]:
    noun = KINDS[card.kind].noun
    rows = [("read from", found.what)]
    if found.classes is None:
        rows.append(("classes", f"known when all is read; here are the first {UNSORTED:,} {noun}s"))
    else:
        rows.append(("classes", f"{len(found.classes):,}"))
    if found.splits is not None:
        counts = ", ".join(f"{split} {count:,}" for split, count in found.splits.items())
        rows.append((f"{noun}s", f"{found.examples:,}: {counts}"))
        rows.append(("splits", found.split_rule))
    if found.domains:
        counts = ", ".join(f"{domain} {count:,}" for domain, count in found.domains.items())
        rows.append(("domains", counts))
    rows.append(("prompt", card.template))
    rows.append(("shown", f"up to {A_CLASS} {noun}s a class, of each split and domain"))
    if len(classes) > CLASSES:
        rows.append(("", f"of {CLASSES} classes; the others have their counts"))
    if card.license:
        rows.append(("licence", card.license))
    yield "<dl>"
    yield from (f"<dt>{in_html(name)}</dt><dd>{in_html(text)}</dd>" for name, text in rows)
    yield "</dl>"
    if found.notes:
        yield "<ul>"
        yield from (f"<li>{in_html(note)}</li>" for note in found.notes)
        yield "</ul>"


def _section(card: DatasetCard, each: ClassSample) -> Iterator[str]:
    label = "" if each.label is None else f'<span class="dim">{each.label}</span> '
    prompt_name = card.prompt_names([each.name])[0]
    told = [plural(sum(each.splits.values()), KINDS[card.kind].noun)]
    told += [f"{split} {count:,}" for split, count in each.splits.items() if split]
    if each.written not in (each.name, ""):
        told.append(f"in the source: {each.written}")
    if prompt_name != each.name:
        told.append(f"in a prompt: {prompt_name}")
    yield f"<section><h2>{label}{in_html(each.name)}</h2>"
    yield f'<div class="dim">{in_html(" · ".join(told))}</div>'
    if each.samples:
        yield '<div class="row">'
        yield from map(_figure, each.samples)
        yield "</div>"
    yield "</section>"


def _figure(sample: Sample) -> str:
    example = sample.example
    words = (example.split, example.domain, sample.measures, example.path)
    caption = in_html(" · ".join(word for word in words if word))
    if sample.error:
        shown = f'<div class="bad">{in_html(sample.error)}</div>'
    elif sample.preview.picture:
        picture = b64encode(sample.preview.picture).decode()
        shown = f'<img alt="{caption}" src="data:image/webp;base64,{picture}">'
    else:
        shown = f"<div>{in_html(sample.preview.text)}</div>"
    kind = "" if sample.preview.picture or sample.error else ' class="text"'
    return f"<figure{kind}>{shown}<figcaption>{caption}</figcaption></figure>"
