"use strict";
/* Published numbers: ours beside them, and all that are known. */
{
  const { el } = site;

  /* Ours beside published numbers. */
  site.publishedTable = (parent, rows, name) =>
    site.table(parent, {
      name: `${name}-published`,
      label: `${name} beside published numbers`,
      rows,
      columns: [
        { title: "Method", head: true, value: (r) => r.method, show: (r) => site.link(["method", r.method], r.method) },
        { title: "Protocol", value: (r) => r.protocol },
        { title: "Data set", value: (r) => r.dataset },
        { title: "Backbone", value: (r) => r.backbone },
        site.columnOf("shots"),
        { title: "Split", value: (r) => r.split },
        { title: "Ours", value: (r) => r.mean, text: (r) => site.number(r.mean, r.metric) },
        { title: "Published", value: (r) => r.published, text: (r) => site.number(r.published, r.metric) },
        { title: "Difference", value: (r) => r.difference, text: (r) => site.number(r.difference, r.metric, { signed: true }) },
        { title: "Verdict", value: (r) => r.verdict },
        { title: "Source", value: (r) => r.source, show: (r) => el("span", {}, site.linked(r.source)) },
      ],
    });

  const PLACE = ["method", "backbone", "protocol", "dataset", "shots", "split", "metric"];
  site.page("published", "Published");
  site.view("published", {
    title: "Published numbers",
    render(root) {
      root.append(el("h1", {}, "Published numbers"));
      const ours = site.rows("published");
      if (ours.length) site.publishedTable(site.card(root, "Ours beside them"), ours, "board");
      else root.append(el("p", { class: "lead" }, "No trial here is of a data set and backbone that papers report; these are their numbers."));
      site.table(site.card(root, "All that are known"), {
        name: "published",
        label: "Published numbers",
        rows: site.rows("reference_results"),
        columns: [
          ...PLACE.map((name, at) => ({ title: site.words(name), head: at === 0, value: (r) => r[name] })),
          { title: "Value", value: (r) => r.value, text: (r) => site.number(r.value, r.metric) },
          { title: "Source", value: (r) => r.source, show: (r) => el("span", {}, site.linked(r.source)), wide: true },
        ],
        order: [[0, "asc"]],
      });
    },
  });
}
