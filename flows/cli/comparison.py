"""How `shotboard compare` shows what it found: for a terminal, and as Markdown."""

from typing import TYPE_CHECKING, Any

from flows.cli.terminal import out, print_table
from operators.episodes.shots import shots_said, shots_word
from tasks.plain_text import in_markdown, markdown_table

if TYPE_CHECKING:
    from tasks.comparing.compare import Comparison

SHOWN = 6  # of what differs, and of what only one side has


def show(found: "Comparison") -> None:
    """Prints it for a terminal."""
    head, rows = _table(found)
    out.print(f"A = {found.a}   B = {found.b}   difference = A - B, paired on the same episodes\n")
    if rows:
        words = head.index("A")
        print_table(head, rows, numeric=[False] * words + [True] * (len(head) - words))
        out.print("")
        print_table(*_summary(found))
        if found.found.over_datasets:
            out.print("\nover data sets, those that both have")
            print_table(*_over_datasets(found))
    else:
        out.print("nothing of A was tested on the same episodes as something of B.")
    for title, lines in _remarks(found).items():
        out.print(f"\n{title}")
        for line in lines:
            out.print(f"  {line}")


def markdown(found: "Comparison") -> str:
    """All of it as Markdown."""
    parts = [f"A is {in_markdown(found.a)}, B is {in_markdown(found.b)}; differences are A - B.\n"]
    tables = [_table(found), _summary(found)] if found.found.rows else []
    tables += [_over_datasets(found)] if found.found.over_datasets else []
    for head, rows in tables:
        parts.append(markdown_table(head, rows))
    for title, lines in _remarks(found).items():
        parts.append(f"{title}\n\n" + "".join(f"- {in_markdown(line)}\n" for line in lines))
    return "\n".join(parts)


def _table(found: "Comparison") -> tuple[list[str], list[list[str]]]:
    """A cell a row; shares in per cent."""
    methods = found.a.kind == "method"
    head = ["protocol", "dataset", "backbone", "shots", "split", "metric"]
    places = [tuple(row[name] for name in head) for row in found.found.rows]
    several = methods and len(set(places)) < len(places)  # cells of a method in one place
    head += ([] if methods else ["method"]) + (["variants"] if several else [])
    head += ["A", "B", "difference", "95 % interval", "seeds", "p", "p_holm"]
    head += ["only_a", "only_b", "p_images", "p_images_holm"]  # as the view `significance` has them
    rows = []
    for row in found.found.rows:
        place = [str(row[name]) for name in head[:6]]
        place[3] = shots_word(row["shots"])
        place[5] += " in %" if row["unit"] == "share" else ""
        if not methods:
            variant = row["variant_a"]
            place.append(f"{row['method_a']} {variant}".strip())
        if several:
            place.append(" | ".join(row[side] or "-" for side in ("variant_a", "variant_b")))
        low, high = row["ci95_low"], row["ci95_high"]
        between = "" if low is None else f"[{_signed(low, row)}, {_signed(high, row)}]"
        rows.append(
            [
                *place,
                _score(row["mean_a"], row),
                _score(row["mean_b"], row),
                _signed(row["difference"], row),
                between,
                str(row["n"]),
                _p(row["p"]),
                _p(row["p_holm"]),
                "" if row["only_a"] is None else str(row["only_a"]),
                "" if row["only_b"] is None else str(row["only_b"]),
                _p(row["p_images"]),
                _p(row["p_images_holm"]),
            ]
        )
    return head, rows


def _summary(found: "Comparison") -> tuple[list[str], list[list[str]]]:
    head = ["protocol", "split", "metric", "data sets", "pairs", "wins of A", "ties", "losses of A"]
    rows = [
        [
            *(str(row[name]) for name in ("protocol", "split", "metric", "datasets", "pairs")),
            *(str(row[name]) for name in ("wins", "ties", "losses")),
            _signed(row["average_difference"], row),
        ]
        for row in found.summary
    ]
    return [*head, "average difference"], rows


def _over_datasets(found: "Comparison") -> tuple[list[str], list[list[str]]]:
    """A line two methods in one place; shares in per cent."""
    lines = found.found.over_datasets
    place = ["protocol", "backbone", "shots", "split", "metric"]
    sides = ["method_a", "variant_a", "variant_b"]
    place += [name for name in sides if len({line[name] for line in lines}) > 1]
    head = [*place, "data sets", "A", "B", "difference", "wins", "ties", "losses"]
    head += ["effect_datasets", "p", "p_holm", "seeds", "p_seeds", "p_seeds_holm"]
    rows = [
        [
            *(shots_word(line[name]) if name == "shots" else str(line[name]) for name in place),
            str(line["datasets"]),
            _score(line["mean_a"], line),
            _score(line["mean_b"], line),
            _signed(line["difference"], line),
            *(str(line[name]) for name in ("wins", "ties", "losses")),
            "" if line["effect_datasets"] is None else f"{line['effect_datasets']:+.2f}",
            _p(line["p"]),
            _p(line["p_holm"]),
            str(line["n"]),
            _p(line["p_seeds"]),
            _p(line["p_seeds_holm"]),
        ]
        for line in lines
    ]
    return head, rows


def _remarks(found: "Comparison") -> dict[str, list[str]]:
    """What differs, and what has nothing beside it, as lines under their titles."""
    apart = {"what differs": [f"{what} ({_pairs(n)})" for what, n in found.found.differs]}
    unpaired = [f"{_cell(cell)}: {cell['why']}" for cell in found.found.unpaired]
    apart["not compared, for they share no episode"] = unpaired
    apart["only in A"] = [_cell(cell) for cell in found.found.only_a]
    apart["only in B"] = [_cell(cell) for cell in found.found.only_b]
    return {
        f"{title} ({len(lines)})": [
            *lines[:SHOWN],
            *([f".. and {len(lines) - SHOWN} more: --json has all"] if len(lines) > SHOWN else []),
        ]
        for title, lines in apart.items()
        if lines
    }


def _cell(cell: dict[str, Any]) -> str:
    shots = shots_said(cell["shots"]) if cell["shots"] else ""
    parts = [cell["protocol"], cell["dataset"], cell["backbone"], shots, cell["method"]]
    return " ".join(filter(None, [*parts, cell["variant"]]))


def _pairs(count: int) -> str:
    return f"{count} pair{'s' * (count > 1)} of cells"


def _score(value: float | None, row: dict[str, Any]) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f}" if row["unit"] == "share" else f"{value:.3f}"


def _signed(value: float, row: dict[str, Any]) -> str:
    text = f"{100 * value:+.1f}" if row["unit"] == "share" else f"{value:+.3f}"
    return text if any(digit in text for digit in "123456789") else text.lstrip("+-")


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"
