"use strict";
/* What is known of methods, data sets and backbones: a list of each, and a card for each. */
{
  const { el } = site;

  /* A definition list of the facts that there are. */
  site.facts = (pairs) =>
    el(
      "dl",
      { class: "facts" },
      pairs
        .filter(([, value]) => value !== null && value !== undefined && value !== "" && value?.length !== 0)
        .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
    );

  site.card = (root, title, ...content) => {
    const card = el("section", { class: "card" }, title ? el("h2", {}, title) : null, content);
    root.append(card);
    return card;
  };

  const missing = (root, kind, name) => {
    const list = `${kind}s`;
    root.append(el("h1", {}, `No ${kind} is called ${name}`), el("p", {}, site.link([list], `All ${site.words(list).toLowerCase()}`)));
  };

  const listed = (items) => el("ul", {}, items.map((item) => el("li", {}, item)));
  const truth = (value) => (value === null ? "" : value ? "yes" : "no");
  const onBoard = (column, name) => site.where("trials", { [column]: name, status: "completed" }).length;

  /* Methods. */

  site.page("methods", "Methods");
  site.view("methods", {
    title: "Methods",
    render(root) {
      root.append(el("h1", {}, "Methods"));
      const card = site.card(root, null);
      site.table(card, {
        name: "methods",
        label: "Methods",
        rows: site.rows("methods"),
        page: 100,
        columns: [
          { title: "Method", head: true, value: (m) => m.method, show: (m) => site.link(["method", m.method], m.method) },
          { title: "Title", value: (m) => m.title, wide: true },
          { title: "Family", value: (m) => m.card?.family ?? "", text: (m) => site.words(m.card?.family ?? "") },
          { title: "Track", value: (m) => m.track ?? "", text: (m) => site.words(m.track ?? "") },
          { title: "Flags", value: (m) => site.flagsOf(m).map((f) => site.words(f).toLowerCase()).join(", ") },
          { title: "Trials", value: (m) => onBoard("method", m.method) },
        ],
        order: [[0, "asc"]],
      });
    },
  });

  const valueText = (value) => (typeof value === "object" && value !== null ? JSON.stringify(value) : String(value));
  site.assigned = (values) => Object.entries(values).map(([name, value]) => `${name}=${valueText(value)}`).join(" ");

  const hyperparameters = (root, method) => {
    const { hyperparameters: values = {}, bounds = {}, recipes = [] } = method.card ?? {};
    if (Object.keys(values).length) {
      site.table(site.card(root, "Hyperparameters, as published"), {
        name: `${method.method}-hyperparameters`,
        label: `Hyperparameters of ${method.method}`,
        rows: Object.entries(values),
        columns: [
          { title: "Name", head: true, value: ([name]) => name },
          { title: "Default", value: ([, value]) => valueText(value) },
          { title: "May be", value: ([name]) => bounds[name] ?? "" },
        ],
      });
    }
    if (recipes.length) {
      site.table(site.card(root, "Published for some places"), {
        name: `${method.method}-recipes`,
        label: `Published settings of ${method.method} by place`,
        rows: recipes,
        columns: [
          { title: "Where", head: true, value: (r) => [r.when, r.on.join(", ")].filter(Boolean).join(" on ") },
          { title: "Values", value: (r) => site.assigned(r.values), wide: true },
        ],
      });
    }
  };

  /* Scores in the primary metric of a method, a data set or a backbone. */
  site.scoresOf = (parent, label, values, leave) => {
    const primary = new Map(site.rows("protocols").map((p) => [p.protocol, p.primary_metric]));
    const rows = site.where("scores", values).filter((row) => row.metric === primary.get(row.protocol));
    const names = ["protocol", "method", "dataset", "backbone", "shots", "split"].filter((name) => name !== leave);
    const track = new Map(site.rows("protocols").map((p) => [p.protocol, p.track]));
    const links = {
      protocol: (row) => site.link([track.get(row.protocol), row.protocol], row.protocol),
      method: (row) => site.link(["method", row.method], row.method),
      dataset: (row) => site.link(["dataset", row.dataset], row.dataset),
    };
    const interval = (row) => site.interval(row.ci95_low, row.ci95_high, row.metric);
    const testRows = (row) => (row.test_rows_per_class === null ? "all" : `${row.test_rows_per_class} a class`);
    site.table(parent, {
      name: label.replaceAll(/\W+/g, "-").toLowerCase(),
      label,
      rows,
      columns: [
        ...names.map((name, place) => ({ ...site.columnOf(name), head: place === 0, show: links[name] })),
        { title: "Test rows", value: (row) => row.test_rows_per_class ?? Infinity, text: testRows },
        {
          title: "Score",
          value: (row) => row.mean,
          text: site.scoreText,
          raw: ["metric", "mean", "std", "n"].map((name) => [name, (row) => row[name]]),
          show: (row) => (row.cell_id ? site.link(["cell", row.cell_id], site.score(row)) : site.score(row)),
        },
        { title: "95 % over seeds", value: (row) => row.ci95_low, text: interval, show: (row) => el("span", { class: "score" }, interval(row)) },
        { title: "Setting", value: (row) => row.variant, wide: true },
      ],
    });
  };

  site.view("method", {
    title: "Method",
    render(root, { path }) {
      const method = site.methodOf(path[0]);
      const onThisBoard = onBoard("method", path[0]);
      if (!method && !onThisBoard) return missing(root, "method", path[0]);
      root.append(el("p", { class: "crumbs" }, site.link(["methods"], "Methods")));
      root.append(el("h1", {}, method?.title ?? path[0]));
      if (method) {
        const card = method.card ?? {};
        root.append(
          el(
            "p",
            { class: "chips" },
            el("code", {}, method.method),
            site.flagsOf(method).map((flag) => el("span", { class: "flag" }, site.FLAGS[flag])),
          ),
        );
        site.card(
          root,
          null,
          site.facts([
            ["Source", site.linked(method.source)],
            ["Family", site.words(card.family ?? "")],
            ["Track", site.words(method.track ?? "")],
            ["Tunes", card.tunes],
            ["Cost", card.cost],
            ["Needs", (method.needs ?? []).join(", ")],
            ["New classes", truth(card.new_classes ?? null)],
            ["Head for unseen classes", card.unseen_head],
            ["Revision", String(method.revision)],
            ["Trials here", String(onThisBoard)],
            ["Compare", site.link(["compare"], "with another method", { a: method.method })],
          ]),
        );
        site.card(root, "Departures from the published form", card.departures?.length ? listed(card.departures) : el("p", {}, "None is known."));
      }
      if (onThisBoard) site.scoresOf(site.card(root, "Scores"), `Scores of ${path[0]}`, { method: path[0] }, "method");
      const published = site.where("published", { method: path[0] });
      if (published.length) site.publishedTable(site.card(root, "Beside published numbers"), published, path[0]);
      if (method) hyperparameters(root, method);
      site.renderSections("method", root, { method: path[0], card: method });
    },
  });

  /* Data sets. */

  site.page("datasets", "Data sets");
  site.view("datasets", {
    title: "Data sets",
    render(root) {
      root.append(el("h1", {}, "Data sets"));
      const card = site.card(root, null);
      site.table(card, {
        name: "datasets",
        label: "Data sets",
        rows: site.rows("datasets"),
        columns: [
          { title: "Data set", head: true, value: (d) => d.name, show: (d) => site.link(["dataset", d.name], d.name) },
          { title: "Title", value: (d) => d.title, wide: true },
          { title: "Kind", value: (d) => d.card?.kind ?? "" },
          { title: "Classes", value: (d) => d.classes },
          { title: "Examples", value: (d) => d.card?.rows ?? null },
          { title: "Licence", value: (d) => d.license },
          { title: "Trials", value: (d) => onBoard("dataset", d.name) },
        ],
        order: [[0, "asc"]],
      });
    },
  });

  site.view("dataset", {
    title: "Data set",
    render(root, { path }) {
      const dataset = site.find("datasets", { name: path[0] });
      const onThisBoard = onBoard("dataset", path[0]);
      if (!dataset && !onThisBoard) return missing(root, "dataset", path[0]);
      root.append(el("p", { class: "crumbs" }, site.link(["datasets"], "Data sets")), el("h1", {}, dataset?.title ?? path[0]));
      if (dataset) {
        const card = dataset.card ?? {};
        const splits = Object.entries(card.splits ?? {}).map(([name, count]) => `${name} ${count.toLocaleString("en")}`);
        site.card(
          root,
          null,
          site.facts([
            ["Name", el("code", {}, dataset.name)],
            ["About", card.description],
            ["Source", site.linked(dataset.source)],
            ["Home page", card.homepage ? site.linked(card.homepage) : ""],
            ["Citation", dataset.citation],
            ["Licence", dataset.license],
            ["Splits", splits.join(", ")],
            ["Split rule", card.split_rule],
            ["Known trouble", dataset.trouble],
            ["Prompts", card.templates?.length ? listed(card.templates) : dataset.template],
            ["Domains", (card.domains ?? []).join(", ")],
            ["Fingerprint", dataset.fingerprint && el("code", {}, dataset.fingerprint)],
          ]),
        );
        const classes = Array.isArray(card.classes) ? card.classes : [];
        if (classes.length) {
          const counts = card.class_counts ?? {};
          site.table(site.card(root, site.plural(classes.length, "class", "classes")), {
            name: `${dataset.name}-classes`,
            label: `Classes of ${dataset.name}`,
            rows: classes.map((name, label) => ({ name, label })),
            columns: [
              { title: "Class", head: true, value: (c) => c.name },
              { title: "Label", value: (c) => c.label },
              ...Object.entries(counts).map(([split, numbers]) => ({ title: site.words(split), value: (c) => numbers[c.label] ?? null })),
            ],
            order: [[1, "asc"]],
          });
        }
      }
      if (onThisBoard) site.scoresOf(site.card(root, "Scores"), `Scores on ${path[0]}`, { dataset: path[0] }, "dataset");
      site.renderSections("dataset", root, { dataset: path[0], card: dataset });
    },
  });

  /* Backbones. */

  site.page("backbones", "Backbones");
  site.view("backbones", {
    title: "Backbones",
    render(root) {
      root.append(el("h1", {}, "Backbones"));
      const card = site.card(root, null);
      site.table(card, {
        name: "backbones",
        label: "Backbones",
        rows: site.rows("backbones"),
        columns: [
          { title: "Backbone", head: true, value: (b) => b.backbone, show: (b) => site.link(["backbone", b.backbone], b.backbone) },
          { title: "Kind", value: (b) => b.kind },
          { title: "Family", value: (b) => b.family },
          { title: "Width", value: (b) => b.feature_width },
          { title: "Source", value: (b) => b.source, show: (b) => el("span", {}, site.linked(b.source)), wide: true },
          { title: "Trials", value: (b) => onBoard("backbone", b.backbone) },
        ],
        order: [[0, "asc"]],
      });
    },
  });

  site.view("backbone", {
    title: "Backbone",
    render(root, { path }) {
      const backbone = site.find("backbones", { backbone: path[0] });
      const onThisBoard = onBoard("backbone", path[0]);
      if (!backbone && !onThisBoard) return missing(root, "backbone", path[0]);
      root.append(el("p", { class: "crumbs" }, site.link(["backbones"], "Backbones")), el("h1", {}, path[0]));
      if (backbone) {
        site.card(
          root,
          null,
          site.facts([
            ["About", [backbone.card?.title, backbone.card?.note].filter(Boolean).join("; ")],
            ["Kind", backbone.kind],
            ["Family", backbone.family],
            ["Width of a feature", backbone.feature_width === null ? "" : String(backbone.feature_width)],
            ["Source", site.linked(backbone.source)],
            ["Licence", backbone.license],
            ["Capabilities", (backbone.capabilities ?? []).join(", ")],
            ["Fingerprint", backbone.fingerprint && el("code", {}, backbone.fingerprint)],
          ]),
        );
      }
      if (onThisBoard) site.scoresOf(site.card(root, "Scores"), `Scores of ${path[0]}`, { backbone: path[0] }, "backbone");
    },
  });
}
