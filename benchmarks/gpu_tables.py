"""The tables of gpu.py, of a report as JSON has it."""

from typing import Any

from measuring import markdown_table, milliseconds, times


def line(row: dict[str, Any]) -> str:
    """A row of steps or of trials as a person reads it, while the others are measured."""
    form = row.get("form") or ("trial, graphs" if row.get("graphs") else "trial")
    parts = [row["method"], f"{row['classes']:>5} classes", row.get("precision", ""), form]
    if "left_out" in row:
        parts.append(f"left out: {row['left_out']}")
    elif "tune_seconds" in row:
        parts.append(f"{row['steps']:,} steps in {row['tune_seconds']:.1f} s")
    else:
        parts.append(milliseconds(row["seconds"]))
    return " ".join(parts)


def markdown(report: dict[str, Any]) -> str:
    """A report in Markdown, for docs/benchmarks.md."""
    of = f"{report['device']}, torch {report['torch']}, {report['shape']} shapes."
    every = [*report["steps"], *report["trials"]]
    left_out = "".join(f"\n- {line(row)}" for row in every if "left_out" in row)
    tables = [of, _rates(report), _steps(report["steps"]), _trials(report["trials"])]
    return "\n\n".join([*tables, *([left_out[1:]] if left_out else [])])


def _rates(report: dict[str, Any]) -> str:
    encode = {row["precision"]: row for row in report["encode"]}
    heads = {"Precision": "<", "Matrix rate": ">", "Images a second": ">", "Share": ">"}
    rows = [
        (
            precision,
            f"{rate / 1e12:.2f} TFLOP/s",
            f"{encode[precision]['rate']:,.0f}",
            _percent(encode[precision]["share"]),
        )
        for precision, rate in report["rates"].items()
    ]
    return markdown_table(heads, rows)


def _steps(rows: list[dict[str, Any]]) -> str:
    place = ("method", "classes", "precision")
    there = [row for row in rows if "left_out" not in row]
    plain = {tuple(r[k] for k in place): r["seconds"] for r in there if r["form"] == "plain"}
    heads = {"Method": "<", "Classes": ">", "Precision": "<", "Form": "<", "A step": ">"}
    heads |= {"Over plain": ">", "Share": ">", "Gradients off by": ">", "Calls": ">"}
    lines = []
    for row in there:
        beside = plain.get(tuple(row[k] for k in place))
        lines.append(
            (
                *(row[k] for k in place),
                row["form"],
                milliseconds(row["seconds"]),
                times(beside and beside / row["seconds"]),
                _percent(row.get("share")),
                f"{row['error']:.0e}",
                row.get("calls", ""),
                row.get("lanes_worth", ""),
                _gib(row["peak_bytes"]),
            )
        )
    return markdown_table(heads | {"Seeds worth": ">", "Peak": ">"}, lines)


def _trials(rows: list[dict[str, Any]]) -> str:
    heads = {"Classes": ">", "Precision": "<", "Graphs": "<", "Steps": ">", "Fit": ">"}
    heads |= {"A step": ">", "Evaluation": ">", "Share": ">", "Peak": ">"}
    lines = [
        (
            row["classes"],
            row["precision"],
            "yes" if row["graphs"] else "no",
            f"{row['steps']:,} of {row['published_steps']:,}",
            f"{row['tune_seconds']:.1f} s",
            milliseconds(row["tune_seconds"] / row["steps"]),
            f"{row['evaluate_seconds']:.1f} s",
            _percent(row["share"]),
            _gib(row["peak_bytes"]),
        )
        for row in rows
        if "left_out" not in row
    ]
    return markdown_table(heads, lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
