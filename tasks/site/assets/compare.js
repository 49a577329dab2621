"use strict";
/* Two methods on the same episodes: difference, intervals and tests of each place, wins and losses. */
{
  const { el } = site;

  const chooser = (id, label, value, options) => {
    const name = `choose-${id}`;
    return el(
      "div",
      { class: "chooser" },
      el("label", { for: name }, label),
      el(
        "select",
        { id: name, onchange: (event) => site.choose({ [id]: event.target.value }) },
        options.map((option) => {
          const [key, title] = Array.isArray(option) ? option : [option, option || "all"];
          return el("option", { value: key, selected: key === value }, title);
        }),
      ),
    );
  };
  site.chooser = chooser;

  const distinct = (values) => [...new Set(values)];

  /* Pairs of cells of two methods, from the side of the first. */
  const pairsOf = (a, b) => {
    const cells = (method) => new Map(site.where("trials", { method }).map((t) => [t.cell_id, t.variant]));
    const [ofA, ofB] = [cells(a), cells(b)];
    return site
      .rows("significance")
      .map((row) => {
        if (ofA.has(row.cell_a) && ofB.has(row.cell_b)) return row;
        return ofB.has(row.cell_a) && ofA.has(row.cell_b) ? site.turned(row) : null;
      })
      .filter(Boolean)
      .map((row) => ({ ...row, variant_a: ofA.get(row.cell_a), variant_b: ofB.get(row.cell_b) }));
  };

  const summary = (rows, a, b, test) => {
    const sign = (row) => {
      const gain = site.metric(row.metric).better === "lower" ? -row.difference : row.difference;
      return Math.sign(gain);
    };
    const sure = (row) => {
      const [p] = site.corrected(row, test);
      return p !== null && p < 0.05;
    };
    const count = (wanted, extra = () => true) => rows.filter((row) => sign(row) === wanted && extra(row)).length;
    const tile = (label, won, certain) => {
      const more = certain === null ? null : el("small", {}, ` ${certain} significant`);
      return el("div", { class: "tile" }, el("dt", {}, label), el("dd", {}, el("span", { class: "big" }, String(won)), more));
    };
    return el(
      "dl",
      { class: "tiles" },
      tile(`${a} wins`, count(1), count(1, sure)),
      tile("Ties", count(0), null),
      tile(`${b} wins`, count(-1), count(-1, sure)),
    );
  };

  site.page("compare", "Compare");
  site.view("compare", {
    title: "Compare two methods",
    render(root, { query }) {
      const methods = distinct(site.rows("scores").map((row) => row.method)).sort();
      const taken = (asked, usual) => (methods.includes(asked) ? asked : usual);
      const a = taken(query.get("a"), methods[0]);
      const b = taken(query.get("b"), methods.find((name) => name !== a) ?? a);
      const test = query.get("test") === "seeds" ? "seeds" : "images";
      root.append(
        el("h1", {}, "Compare two methods"),
        el("p", { class: "lead" }, "Paired on the same episodes: data set, backbone, protocol, shots, seed and drawn rows."),
      );
      if (methods.length < 2) return void root.append(el("p", {}, "A comparison takes two methods on the board."));
      const every = pairsOf(a, b);
      const protocols = distinct(every.map((row) => row.protocol));
      const protocol = protocols.includes(query.get("protocol")) ? query.get("protocol") : "";
      const rows = site.heldTogether(every.filter((row) => !protocol || row.protocol === protocol));
      const form = el(
        "form",
        { class: "choosers", "aria-label": "What is compared", onsubmit: (event) => event.preventDefault() },
        chooser("a", "Method A", a, methods),
        chooser("b", "Method B", b, methods),
        chooser("protocol", "Protocol", protocol, ["", ...protocols]),
        chooser("test", "Significant by", test, [["images", "test over examples"], ["seeds", "test over seeds"]]),
      );
      const card = el("section", { class: "card" }, form);
      root.append(card);
      if (!rows.length) {
        card.append(el("p", {}, a === b ? "Choose two methods." : `${a} and ${b} were not run on the same episodes.`));
        return;
      }
      card.append(summary(rows, a, b, test));
      const number = (name, options) => ({ value: (r) => r[name], text: (r) => site.number(r[name], r.metric, options) });
      const end = (half, sign) => (r) => (r[half] === null ? null : r.difference + sign * r[half]);
      const interval = (half) => {
        const [low, high] = [end(half, -1), end(half, 1)];
        const text = (r) => site.interval(low(r), high(r), r.metric, { signed: true });
        return { value: low, text, show: (r) => el("span", { class: "score" }, text(r)), raw: [["low", low], ["high", high]] };
      };
      const several = (name) => new Set(rows.map((row) => row[name])).size > 1;
      const columns = [
        { title: "Data set", head: true, value: (r) => r.dataset, show: (r) => site.link(["dataset", r.dataset], r.dataset) },
        ...["protocol", "backbone", "split"].filter(several).map((name) => ({ title: site.words(name), value: (r) => r[name] })),
        site.columnOf("shots"),
        ...(several("metric") ? [{ title: "Metric", value: (r) => r.metric }] : []),
        { title: a, ...number("mean_a"), best: (r) => r.difference !== 0 && site.isBetter(r.mean_a, r.mean_b, r.metric) },
        { title: b, ...number("mean_b"), best: (r) => r.difference !== 0 && site.isBetter(r.mean_b, r.mean_a, r.metric) },
        { title: "A − B", ...number("difference", { signed: true }) },
        { title: "Seeds", group: "Over seeds", value: (r) => r.n },
        { title: "95 %", group: "Over seeds", ...interval("ci95_half") },
        { title: "p", group: "Over seeds", value: (r) => r.p, text: (r) => site.p(r.p) },
        { title: "p, Holm", group: "Over seeds", value: (r) => r.p_holm, text: (r) => site.p(r.p_holm) },
        { title: "Only A right", group: "Over test examples", value: (r) => r.only_a },
        { title: "Only B right", group: "Over test examples", value: (r) => r.only_b },
        { title: "95 %", group: "Over test examples", ...interval("images_ci95_half") },
        { title: "p", group: "Over test examples", value: (r) => r.p_images, text: (r) => site.p(r.p_images) },
        { title: "p, Holm", group: "Over test examples", value: (r) => r.p_images_holm, text: (r) => site.p(r.p_images_holm) },
        { title: "Setting of A", value: (r) => r.variant_a, wide: true },
        { title: "Setting of B", value: (r) => r.variant_b, wide: true },
      ];
      site.table(card, { name: `${a}-${b}`, label: `${a} and ${b}`, rows, columns });
      card.append(
        el(
          "p",
          { class: "note" },
          "Over seeds: Student's paired t. Over test examples: the exact sign test, each example counted once. ",
          "Holm's correction is over the rows that are compared here.",
        ),
      );
      site.renderSections("compare", root, { a, b, rows });
    },
  });
}
