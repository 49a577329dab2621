"use strict";
/* Tables that sort, search and leave as CSV, Markdown or LaTeX.
 *
 *   site.table(parent, { name, label, columns, rows, order, page, search, marks, remember })
 *
 * A column is { title, value(row), show?(row), text?(row), raw?, group?, about?, head?, best?(row),
 * wide? }: `value` sorts (null comes last either way) and, as text, is searched; `show` gives an
 * element or text to see, `text` what exports write, `raw` the columns that CSV has in its place, as
 * [[title, value(row)], ..]. `head` makes it the header of its rows, `best` sets it in bold.
 * `remember` names the part of the address that keeps what is searched for. */
{
  const { el } = site;
  let ready = false;

  const byValue = (sign) => (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  };

  const prepare = () => {
    if (ready) return;
    const DataTable = window.DataTables.default;
    // DataTables' own order puts empty cells first in one of the two directions.
    DataTable.type("known", { order: { asc: byValue(1), desc: byValue(-1) } });
    DataTable.ext.errMode = "throw";
    ready = true;
  };

  site.textOf = (column, row) => {
    if (column.text) return column.text(row);
    const value = column.value(row);
    return value === null || value === undefined ? "" : String(value);
  };

  const shown = (column, row) => {
    const content = column.show ? column.show(row) : site.textOf(column, row);
    return content instanceof Node ? content : document.createTextNode(content ?? "");
  };

  const rendered = (column) => (row, type) => {
    if (type === "sort" || type === "type") return column.value(row) ?? null;
    if (type === "filter") return site.textOf(column, row);
    return type === "display" ? shown(column, row) : site.textOf(column, row);
  };

  /* One header row, or two where columns have groups. */
  const headOf = (columns, rows) => {
    const cell = (column, attributes = {}) => {
      const figure = !column.head && rows.some((row) => typeof column.value(row) === "number");
      const kind = column.head ? "named" : [figure ? "figure" : "", column.className ?? ""].join(" ").trim();
      const node = el("th", { scope: "col", class: kind, ...attributes }, column.title);
      if (column.about) node.title = column.about;
      return node;
    };
    if (!columns.some((column) => column.group)) return el("thead", {}, el("tr", {}, columns.map((c) => cell(c))));
    const upper = el("tr");
    const lower = el("tr");
    columns.forEach((column, place) => {
      if (!column.group) upper.append(cell(column, { rowspan: 2 }));
      else {
        lower.append(cell(column));
        if (columns[place - 1]?.group === column.group) upper.lastElementChild.colSpan += 1;
        else upper.append(el("th", { scope: "colgroup", class: "group", colspan: 1, "data-dt-order": "disable" }, column.group));
      }
    });
    return el("thead", {}, upper, lower);
  };

  site.table = (parent, { name, label, columns, rows, order = [], page = 50, search = true, marks = true, remember = null }) => {
    prepare();
    const table = el("table", { class: "scores", "aria-label": label, style: `--columns: ${columns.length - 1}` }, headOf(columns, rows));
    const box = el("div", { class: "table" }, table);
    parent.append(box);
    const paged = rows.length > page;
    const api = new window.DataTables.default(table, {
      data: rows,
      columns: columns.map((column) => ({
        data: null,
        type: "known",
        render: rendered(column),
        cellType: column.head ? "th" : "td",
        createdCell: (cell, _, row) => {
          if (column.head) cell.scope = "row";
          if (typeof column.value(row) === "number" && !column.head) cell.classList.add("figure");
          if (column.wide) cell.classList.add("wide");
          if (marks && column.best?.(row)) cell.classList.add("best");
          column.mark?.(cell, row);
        },
      })),
      order,
      autoWidth: false,
      deferRender: true,
      paging: paged,
      pageLength: page,
      lengthMenu: [25, 50, 100, 500],
      layout: {
        topStart: null,
        topEnd: search && rows.length > 5 ? { search: { text: "_INPUT_", placeholder: "Search…" } } : null,
        bottomStart: paged || search ? "info" : null,
        bottomEnd: paged ? "paging" : null,
      },
      language: {
        emptyTable: "Nothing fits this choice.",
        zeroRecords: "Nothing fits this search.",
        info: "_START_ to _END_ of _TOTAL_",
        infoFiltered: "(of _MAX_)",
        infoEmpty: "0 rows",
      },
    });
    if (remember) {
      api.search(site.route().query.get(remember) ?? "").draw();
      api.on("search", () => site.note({ [remember]: api.search() || null }));
    }
    const scroll = table.closest(".dt-layout-table") ?? box;
    scroll.setAttribute("tabindex", "0");
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", label);
    box.querySelector("input[type=search]")?.setAttribute("aria-label", `Search in ${label}`);
    const handle = { name, label, columns, api, rows: () => api.rows({ search: "applied", order: "applied" }).data().toArray() };
    const top = box.querySelector(".dt-layout-row:not(.dt-layout-table)");
    const buttons = site.exportButtons(handle);
    if (top?.querySelector(".dt-search")) top.prepend(buttons);
    else box.prepend(buttons);
    return handle;
  };
}
