"""Pictures of the board: which there are, their figures, and SVG, PNG or PDF of one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_catalog.wording import did_you_mean, some
from operators.episodes.shots import shots_order
from tasks.plain_text import in_html
from tasks.plots.base_to_new import BASE_TO_NEW
from tasks.plots.cost import COST
from tasks.plots.critical_difference import CRITICAL_DIFFERENCE
from tasks.plots.curves import CURVES
from tasks.plots.heat_map import HEAT_MAP
from tasks.plots.intervals import INTERVALS
from tasks.plots.looks import THEMES, Looks, config
from tasks.plots.loss import LOSS
from tasks.plots.plot import VERSION, Ask, Figure, NothingToDraw, Plot, Row
from tasks.plots.published import PUBLISHED

PLOTS: dict[str, Plot] = {
    plot.name: plot
    for plot in (
        *(CURVES, INTERVALS, HEAT_MAP, BASE_TO_NEW, COST, CRITICAL_DIFFERENCE, PUBLISHED, LOSS),
    )
}
FORMATS = ("svg", "png", "pdf", "json")


def figures(ask: Ask, plot: Plot, looks: Looks) -> Iterator[Figure]:
    """Every picture of a plot that the board has something for.

    Args:
        ask: Answers SQL on the board.
        plot: Which.
        looks: Of methods.
    """
    for key, rows in plot.grounds(ask(plot.sql)).items():
        try:
            yield plot.draw(dict(zip(plot.ground, key, strict=True)), rows, looks)
        except NothingToDraw:
            continue


def figure(ask: Ask, name: str, looks: Looks, filters: Mapping[str, Any] | None = None) -> Figure:
    """One picture: that of the filters, and the one with most rows, or most shots, among them.

    Args:
        ask: Answers SQL on the board.
        name: One of `PLOTS`.
        looks: Of methods.
        filters: Wanted values by column of the plot's ground; None for any.

    Raises:
        LookupError: There is no such plot, column or value.
        NothingToDraw: The board has nothing for it.
    """
    plot = _near("plot", name, PLOTS)
    wanted = {key: value for key, value in (filters or {}).items() if value is not None}
    for key in wanted:
        if key not in plot.ground:
            raise LookupError(
                f"the plot {name} has no {key} to choose: it has {', '.join(plot.ground)}."
            )
    rows = ask(_filtered(plot.sql, wanted))
    if not rows:
        raise _nothing(ask, plot, wanted)
    grounds = plot.grounds(rows)
    refused: list[NothingToDraw] = []
    fullest = sorted(
        grounds, key=lambda key: (-len(grounds[key]), -shots_order(grounds[key][0].get("shots", 0)))
    )
    for key in fullest:
        try:
            return plot.draw(dict(zip(plot.ground, key, strict=True)), grounds[key], looks)
        except NothingToDraw as error:
            refused.append(error)
    raise refused[0]


def _size(rows: Sequence[Row]) -> tuple[int, int]:
    """What makes a picture say more: rows, and shots."""
    return len(rows), shots_order(rows[0].get("shots", 0))


def _filtered(sql: str, wanted: Mapping[str, Any]) -> str:
    """The SQL with its rows narrowed to some values, as text, by column."""
    conditions = []
    for key, value in wanted.items():
        text = str(value).replace("'", "''")
        conditions.append(f"\"{key}\"::VARCHAR = '{text}'")
    return f"SELECT * FROM ({sql}) WHERE {' AND '.join(conditions)}" if conditions else sql


def _nothing(ask: Ask, plot: Plot, wanted: Mapping[str, Any]) -> LookupError:
    """Why there are no rows: no such value, no such values together, or nothing at all."""
    for key, value in wanted.items():
        found = ask(f'SELECT DISTINCT "{key}" AS known FROM ({plot.sql}) ORDER BY known')
        known = [str(row["known"]) for row in found if row["known"] is not None]
        if known and str(value) not in known:
            return LookupError(
                f"the plot {plot.name} has nothing for {key} {value!r}: there is {some(known, 12)}."
            )
    if not wanted or not ask(f"SELECT 1 FROM ({plot.sql}) LIMIT 1"):
        return NothingToDraw(f"the board has nothing for the plot {plot.name} yet. {plot.empty}")
    chosen = ", ".join(f"{key} {value}" for key, value in wanted.items())
    return NothingToDraw(
        f"the board has nothing for the plot {plot.name} with {chosen} together. Leave one out."
    )


def render(
    plot: Plot,
    figure: Figure,
    *,
    format: str = "svg",
    theme: str = "light",
    transparent: bool = False,
) -> bytes:
    """A figure as the content of a file.

    Args:
        plot: Of which it is.
        figure: What is drawn.
        format: One of `FORMATS`; `json` is its Vega-Lite specification, rows included.
        theme: One of `THEMES`.
        transparent: Whether what is behind shows through.

    Raises:
        LookupError: There is no such format or theme.
    """
    import vl_convert

    _near("format of pictures", format, FORMATS)
    _near("theme", theme, tuple(THEMES))
    spec = {**plot.spec(figure), "config": config(theme, transparent=transparent)}
    if format == "json":
        import json

        return json.dumps(spec, indent=1, ensure_ascii=False).encode()
    if format == "png":
        return vl_convert.vegalite_to_png(spec, vl_version=VERSION, scale=2)
    if format == "pdf":
        return vl_convert.vegalite_to_pdf(spec, vl_version=VERSION)
    return _named(vl_convert.vegalite_to_svg(spec, vl_version=VERSION), plot, figure).encode()


def _named(svg: str, plot: Plot, figure: Figure) -> str:
    """The picture with its title and its description, as screen readers look for them."""
    opening, rest = svg.split(">", 1)
    title, alt = in_html(plot.title), in_html(figure.alt)
    return (
        f'{opening} role="graphics-document" aria-label="{title}">'
        f"<title>{title}</title><desc>{alt}</desc>{rest}"
    )


def _near(kind: str, name: str, table: Mapping[str, Any] | Sequence[str]) -> Any:
    """What the table has under a name; where it has none, a LookupError that offers some."""
    if name not in table:
        raise LookupError(f"no {kind} is called {name!r}. {did_you_mean(name, table)}")
    return table[name] if isinstance(table, Mapping) else name
