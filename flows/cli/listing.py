"""`shotboard methods` and `backbones`: what there is, what it needs, its source."""

from typing import Annotated, Any

import typer

from flows.cli.common import AsJson, commands, one_sentence, quiet_libraries
from flows.cli.pretraining import verify_backbone
from flows.cli.terminal import out, print_card, print_json, print_table, write_out

app = commands()
methods_app = commands("What is compared.")
backbones_app = commands("The frozen encoders.")
backbones_app.command("verify")(verify_backbone)
app.add_typer(methods_app, name="methods")
app.add_typer(backbones_app, name="backbones")


@methods_app.callback(invoke_without_command=True)
def _methods(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_methods(as_json)


@methods_app.command("list")
def list_methods(as_json: AsJson = False) -> None:
    """List all methods."""
    with one_sentence():
        from tasks.pages.known import method_rows

        rows = method_rows()
        if as_json:
            print_json(rows)
            return
        print_table(
            ["method", "track", "title", "new classes", "needs", "tunes"],
            [
                [
                    r["method"],
                    r["track"],
                    r["title"],
                    "yes" if r["card"]["new_classes"] else "no",
                    [*r["needs"], *["descriptions"] * r["descriptions"]],
                    r["card"]["tunes"],
                ]
                for r in rows
            ],
        )


@methods_app.command("show")
def show_method(name: str, as_json: AsJson = False) -> None:
    """Show what a method tunes, needs, costs and defaults to, and where it comes from."""
    with one_sentence():
        from tasks.pages.method_page import COLUMNS, facts, settings

        row = _method_row(name)
        if as_json:
            print_json(row)
            return
        lines = [["method", name], ["title", row["title"]]]
        for key, known in facts(row).items():
            first, *others = [known] if isinstance(known, str) else known
            lines += [[key, first], *(["", other] for other in others)]
        print_table(["", ""], lines)
        if row["card"]["hyperparameters"]:
            print_table(COLUMNS, settings(row), title="\ndefaults")


def _method_row(name: str) -> dict[str, Any]:
    """What is known of a method; of a user's own by its file."""
    from tasks.pages.known import method_rows
    from tasks.planning.own_files import place_of
    from tasks.planning.resolve import resolve

    place = place_of(name)
    if place is None:
        return resolve("method", name, {row["method"]: row for row in method_rows()})
    from tasks.pages.zoo import method_row
    from tasks.planning.own_methods import load_method

    return method_row(*load_method(place))


@methods_app.command("check")
def check_method(
    method: Annotated[str, typer.Argument(metavar="FILE[:CLASS]", help="Or the name of one.")],
    as_json: AsJson = False,
) -> None:
    """Look whether a method keeps the contract of methods; exit code 1 if a promise is broken."""
    quiet_libraries(verbose=False)
    with one_sentence():
        from tasks.planning.checking import check

        found = []
        for promise, sentences in check(method):
            found.append({"promise": promise.name, "broken": sentences})
            if not as_json:
                out.print(f"{'BROKEN' if sentences else 'kept  '}  {promise.name}", markup=False)
                for sentence in sentences:
                    out.print(f"        {sentence}", markup=False, soft_wrap=True)
        count = sum(bool(each["broken"]) for each in found)
        if as_json:
            print_json(found)
        else:
            told = f"{count} of {len(found)} promises broken." if count else "All promises kept."
            out.print(f"\n{told}")
    if count:
        raise typer.Exit(1)


@methods_app.command("page")
def method_page() -> None:
    """Write the page of all methods, as it stands in docs/methods.md, to standard output."""
    with one_sentence():
        from tasks.pages.method_page import page

        write_out(page())


@backbones_app.callback(invoke_without_command=True)
def _backbones(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_backbones(as_json)


@backbones_app.command("list")
def list_backbones(as_json: AsJson = False) -> None:
    """List the backbones with a name of their own; a folder or hub id will do as well."""
    with one_sentence():
        from tasks.pages.known import backbone_rows

        rows = backbone_rows()
        if as_json:
            print_json(rows)
            return
        print_table(
            ["backbone", "kind", "family", "fingerprint", "source"],
            [
                [r["backbone"], r["kind"], r["family"], r.get("fingerprint"), r["source"]]
                for r in rows
            ],
        )


@backbones_app.command("show")
def show_backbone(name: str, as_json: AsJson = False) -> None:
    """Show a backbone: a name, a folder, a hub id, or a file of yours as ./my_clip.py:MyClip."""
    with one_sentence():
        from tasks.pages.known import backbone_rows

        row = next((row for row in backbone_rows() if row["backbone"] == name), {})
        if "fingerprint" not in row:  # its files have to be looked at
            from tasks.pages.zoo import backbone_row
            from tasks.planning.own_backbones import find_backbone

            row = backbone_row(find_backbone(name).describe())
        if as_json:
            print_json(row)
        else:
            print_card({**{k: v for k, v in row.items() if k != "card"}, **row["card"]})
