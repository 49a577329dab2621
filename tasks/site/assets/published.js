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
        {
          title: "95 %",
          value: (r) => r.difference_ci95_low,
          text: (r) => site.interval(r.difference_ci95_low, r.difference_ci95_high, r.metric, { signed: true }),
        },
        { title: "Verdict", value: (r) => r.verdict },
        { title: "Source", value: (r) => r.source, show: (r) => el("span", {}, site.linked(r.source)) },
      ],
    });

  /* Where published numbers disagree, and which sources do. */
  const conflicts = (root) => {
    const number = (name, options) => ({ value: (r) => r[name], text: (r) => site.number(r[name], r.metric ?? "harmonic_mean", options) });
    site.table(site.card(root, "Where they disagree"), {
      name: "conflicts",
      label: "Published numbers that disagree",
      rows: site.rows("reference_conflicts"),
      columns: [
        { title: "Kind", head: true, value: (r) => r.kind },
        ...PLACE.map((name) => ({ title: site.words(name), value: (r) => r[name] })),
        { title: "Spread", ...number("spread") },
        { title: "Numbers", value: (r) => r.said, wide: true },
        { title: "Note", value: (r) => r.note, wide: true },
      ],
    });
    site.table(site.card(root, "Which sources disagree"), {
      name: "sources",
      label: "Sources that disagree",
      rows: site.rows("reference_sources"),
      columns: [
        { title: "Method", head: true, value: (r) => r.method },
        ...["a", "b"].flatMap((side) => [
          { title: `As ${side.toUpperCase()} has it`, value: (r) => r[`label_${side}`] },
          { title: `Source ${side.toUpperCase()}`, value: (r) => r[`source_${side}`], wide: true },
        ]),
        { title: "Cells", value: (r) => r.cells },
        { title: "Differ", value: (r) => r.differ },
        { title: "Mean A − B", ...number("mean_difference", { signed: true }) },
        { title: "Largest", ...number("largest") },
        { title: "Largest at", value: (r) => r.largest_at },
      ],
    });
  };

  const PLACE = ["method", "backbone", "protocol", "dataset", "shots", "split", "metric"];
  site.page("published", "Published");
  site.view("published", {
    title: "Published numbers",
    render(root) {
      root.append(el("h1", {}, "Published numbers"));
      const ours = site.rows("published");
      if (ours.length) site.publishedTable(site.card(root, "Ours beside them"), ours, "board");
      else {
        const [here, there] = ["trials", "reference_results"].map((name) =>
          [...new Set(site.rows(name).map((row) => row.backbone))].sort().join(", "),
        );
        const why = `No trial here is of a data set and backbone that papers report: trials are of ${here || "none"}, papers of ${there}.`;
        root.append(el("p", { class: "lead" }, why, " These are their numbers."));
      }
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
      conflicts(root);
    },
  });
}
