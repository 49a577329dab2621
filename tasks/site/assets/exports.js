"use strict";
/* Tables as text for other programs: the rows that are seen, in the order in which they are seen.
 *
 * Where a frame may not download, the text can be copied from the dialog. */
{
  const { el } = site;

  const quoted = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  const heading = (column) => [column.group, column.title].filter(Boolean).join(" ");

  const csv = ({ columns, rows }) => {
    const all = columns.flatMap(
      (column) => column.raw?.map(([title, value]) => [`${heading(column)} ${title}`.trim(), value]) ?? [[heading(column), column.value]],
    );
    const lines = [all.map(([title]) => quoted(title)), ...rows().map((row) => all.map(([, value]) => quoted(value(row))))];
    return lines.map((line) => line.join(",")).join("\n") + "\n";
  };

  const inMarkdown = (text) => text.replace(/[\\`*_{}[\]<>#|~&!$]/g, "\\$&").replace(/\s+/g, " ");

  const markdown = ({ columns, rows }) => {
    const line = (cells) => `| ${cells.join(" | ")} |`;
    const cell = (column, row) => {
      const text = inMarkdown(site.textOf(column, row));
      return text && column.best?.(row) ? `**${text}**` : text;
    };
    const shown = rows();
    const right = (column) => shown.some((row) => typeof column.value(row) === "number");
    return [
      line(columns.map((column) => inMarkdown(heading(column)))),
      line(columns.map((column) => (right(column) && !column.head ? "---:" : "---"))),
      ...shown.map((row) => line(columns.map((column) => cell(column, row)))),
    ].join("\n") + "\n";
  };

  const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
  const inLatex = (text) =>
    text
      .replace(/[\\~^&%$#_{}]/g, (letter) => LATEX[letter] ?? `\\${letter}`)
      .replaceAll("±", "$\\pm$")
      .replaceAll("−", "$-$")
      .replaceAll("≈", "$\\approx$");

  const latex = ({ columns, rows, label }) => {
    const shown = rows();
    const right = (column) => !column.head && shown.some((row) => typeof column.value(row) === "number");
    const cell = (column, row) => {
      const text = inLatex(site.textOf(column, row));
      return text && column.best?.(row) ? `\\textbf{${text}}` : text;
    };
    const groups = [];
    columns.forEach((column, place) => {
      const last = groups.at(-1);
      if (last && last.title === column.group && column.group) last.count += 1;
      else groups.push({ title: column.group, count: 1, from: place + 1 });
    });
    const head = columns.some((column) => column.group)
      ? [
          groups.map(({ title, count }) => (title ? `\\multicolumn{${count}}{c}{${inLatex(title)}}` : "")).join(" & ") + " \\\\",
          groups.filter(({ title }) => title).map(({ count, from }) => `\\cmidrule(lr){${from}-${from + count - 1}}`).join(" "),
        ]
      : [];
    return [
      `% ${label}; needs \\usepackage{booktabs}`,
      `\\begin{tabular}{${columns.map((column) => (right(column) ? "r" : "l")).join("")}}`,
      "\\toprule",
      ...head,
      columns.map((column) => inLatex(column.title)).join(" & ") + " \\\\",
      "\\midrule",
      ...shown.map((row) => columns.map((column) => cell(column, row)).join(" & ") + " \\\\"),
      "\\bottomrule",
      "\\end{tabular}",
    ].join("\n") + "\n";
  };

  const FORMATS = [
    ["CSV", "csv", "text/csv", csv],
    ["Markdown", "md", "text/markdown", markdown],
    ["LaTeX", "tex", "application/x-tex", latex],
  ];

  /* Lets the reader save a file. */
  site.save = (name, blob) => {
    const link = el("a", { href: URL.createObjectURL(blob), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  /* A dialog with the text of a file, to copy or to save. */
  site.offer = (title, name, type, text) => {
    const dialog = document.getElementById("export");
    const area = el("textarea", { readonly: true, rows: 16, spellcheck: "false", "aria-label": title }, text);
    const copy = async () => {
      area.select();
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        document.execCommand("copy"); // frames and files may have no clipboard of their own
      }
      site.say("Copied");
      button.textContent = "Copied";
    };
    const button = el("button", { type: "button", class: "primary", onclick: copy }, "Copy");
    dialog.replaceChildren(
      el("h2", { id: "export-title" }, title),
      area,
      el(
        "div",
        { class: "buttons" },
        button,
        el("button", { type: "button", onclick: () => site.save(name, new Blob([text], { type })) }, `Save ${name}`),
        el("button", { type: "button", onclick: () => dialog.close() }, "Close"),
      ),
    );
    dialog.showModal();
    button.focus();
  };

  site.exportButtons = (table) =>
    el(
      "div",
      { class: "exports", role: "group", "aria-label": `Export ${table.label}` },
      FORMATS.map(([title, ending, type, write]) =>
        el(
          "button",
          {
            type: "button",
            class: "quiet",
            onclick: () => site.offer(`${table.label} as ${title}`, `${table.name}.${ending}`, type, write(table)),
          },
          title,
        ),
      ),
    );
}
