"use strict";
/* A protocol: choosers, the leaderboard, and the sections that others add to it.
 *
 * The context of those sections: { track, protocol, metric, choice, options, rows, lines, places }, where
 * `rows` are the scores of the chosen ground in the chosen metric, and `lines` and `places` the table. */
{
  const { el } = site;
  const LEADING = ["AVERAGE", "H", "all", "base", "closed"];

  site.protocolOf = (path) => {
    const known = site.about.choices;
    if (known[path[1]]) return path[1];
    const track = site.rows("tracks").find((t) => t.track === path[0])?.track;
    if (!track) return site.about.home;
    return site.rows("protocols").find((p) => known[p.protocol] && p.track === track)?.protocol ?? site.about.home;
  };

  const distinct = (values) => [...new Set(values)];
  const ground = (row) => (row.test_rows_per_class === null ? "all" : String(row.test_rows_per_class));
  const taken = (asked, known, usual) => (known.includes(asked) ? asked : usual);

  /* What is chosen: the query where it names what is there, else what the protocol begins with. */
  const chosen = (protocol, query) => {
    const usual = site.about.choices[protocol];
    const every = site.where("scores", { protocol });
    const metrics = distinct(every.map((row) => row.metric));
    const metric = taken(query.get("metric"), metrics, usual.metric);
    const measured = every.filter((row) => row.metric === metric);
    const backbones = distinct(measured.map((row) => row.backbone));
    const backbone = taken(query.get("backbone"), [...backbones, "*"], usual.backbone);
    const there = measured.filter((row) => backbone === "*" || row.backbone === backbone);
    const grounds = distinct(there.map(ground));
    const methods = (name) => new Set(there.filter((row) => ground(row) === name).map((row) => row.method)).size;
    const most = grounds.toSorted((a, b) => methods(b) - methods(a))[0];
    const asked = usual.test_rows_per_class === null ? "all" : String(usual.test_rows_per_class);
    const rowsUsual = backbone === usual.backbone && grounds.includes(asked) ? asked : most;
    const testRows = taken(query.get("rows"), grounds, rowsUsual);
    const rows = there.filter((row) => ground(row) === testRows);
    const datasets = distinct(rows.map((row) => row.dataset)).sort();
    const shotCounts = distinct(rows.map((row) => row.shots)).filter((k) => k !== 0).sort((a, b) => site.shotsOrder(a) - site.shotsOrder(b));
    const shots = (shotCounts.length ? shotCounts : [0]).map(String);
    const splits = distinct(rows.map((row) => row.split)).sort(site.bySplit);
    const lead = LEADING.find((split) => splits.includes(split)) ?? splits[0];
    const options = { backbones, metrics, grounds, datasets, shots, splits };
    const known = backbone === usual.backbone && testRows === asked; // the ground that it was chosen for
    const start = (name, values, otherwise) => taken(known ? usual[name] : null, [...values, "*"], otherwise);
    const begin = {
      dataset: start("dataset", datasets, datasets.length > 1 ? "*" : datasets[0]),
      shots: start("shots", shots, shots.at(-1)),
      split: start("split", splits, lead),
    };
    const choice = {
      backbone,
      metric,
      rows: testRows,
      dataset: taken(query.get("dataset"), [...datasets, "*"], begin.dataset),
      shots: taken(query.get("shots"), [...shots, "*"], begin.shots),
      split: taken(query.get("split"), [...splits, "*"], begin.split),
      family: query.get("family") ?? "",
      flag: query.get("flag") ?? "",
      test: query.get("test") === "seeds" ? "seeds" : "images",
      intervals: query.get("intervals") === "1",
      published: query.get("published") === "1",
    };
    return { choice, options, rows };
  };

  const placesOf = ({ choice, options }) => {
    const over = (value, known) => (value === "*" ? known : [value]);
    return over(choice.dataset, options.datasets).flatMap((dataset) =>
      over(choice.shots, options.shots).flatMap((shots) =>
        over(choice.split, options.splits).map((split) => ({ dataset, shots: Number(shots), split })),
      ),
    );
  };

  const fits = (choice) => (line) => {
    const flags = site.flagsOfLine(line);
    const flag = choice.flag === "" || (choice.flag === "none" ? flags.length === 0 : flags.includes(choice.flag));
    return flag && (choice.family === "" || site.familyOf(line.method) === choice.family);
  };

  /* Choosers. */

  const chooser = (id, label, value, options) => {
    const name = `choose-${id}`;
    const select = el(
      "select",
      { id: name, onchange: (event) => site.choose({ [id]: event.target.value }) },
      options.map(([key, title]) => el("option", { value: key, selected: key === value }, title)),
    );
    return el("div", { class: "chooser" }, el("label", { for: name }, label), select);
  };

  const toggle = (id, label, value) =>
    el(
      "label",
      { class: "toggle", for: `choose-${id}` },
      el("input", {
        id: `choose-${id}`,
        type: "checkbox",
        checked: value,
        onchange: (event) => site.choose({ [id]: event.target.checked ? "1" : null }),
      }),
      label,
    );

  const choosers = ({ choice, options }, lines, hasPublished) => {
    const named = (names, words = (name) => name) => names.map((name) => [name, words(name)]);
    const all = (names, words, title) => (names.length > 1 ? [["*", title], ...named(names, words)] : named(names, words));
    const families = distinct(lines.map((line) => site.familyOf(line.method))).filter(Boolean).sort();
    const flags = distinct(lines.flatMap(site.flagsOfLine));
    const only = (known, control) => (known.length > 1 ? control : null);
    return el(
      "form",
      { class: "choosers", "aria-label": "What the table shows", onsubmit: (event) => event.preventDefault() },
      chooser("backbone", "Backbone", choice.backbone, all(options.backbones, undefined, "all backbones")),
      chooser("dataset", "Data set", choice.dataset, all(options.datasets, undefined, "all, a column each")),
      chooser("shots", "Shots", choice.shots, all(options.shots, (k) => site.shotsWord(Number(k)), "a column each")),
      only(options.splits, chooser("split", "Split", choice.split, all(options.splits, site.splitWords, "all, a column each"))),
      chooser("metric", "Metric", choice.metric, named(options.metrics)),
      only(
        options.grounds,
        chooser("rows", "Test rows", choice.rows, named(options.grounds, (n) => (n === "all" ? "all" : `at most ${n} a class`))),
      ),
      only(families, chooser("family", "Family", choice.family, [["", "all families"], ...named(families, site.words)])),
      only(
        ["", ...flags],
        chooser("flag", "Needs", choice.flag, [
          ["", "anything"],
          ["none", "nothing more than the examples"],
          ...named(flags, (flag) => site.FLAGS[flag]),
        ]),
      ),
      chooser("test", "Marked by", choice.test, [["images", "test over examples"], ["seeds", "test over seeds"]]),
      toggle("intervals", "Intervals", choice.intervals),
      hasPublished ? toggle("published", "Published numbers", choice.published) : null,
    );
  };

  /* Where a line stands, by its average or by its one most telling place; ties share a position. */
  const standings = ({ lines, places, choice, protocol }) => {
    const shots = places.map((place) => place.shots).reduce((most, k) => (site.shotsOrder(k) > site.shotsOrder(most) ? k : most), 0);
    const splits = new Set(places.map((place) => place.split));
    const lead = LEADING.find((split) => splits.has(split)) ?? places[0]?.split;
    const telling = places.filter((place) => place.shots === shots && place.split === lead);
    const meanOf = (line) =>
      telling.length > 1 ? site.averageOf(line, protocol.protocol, telling[0])?.mean ?? null : site.meanAt(line, telling[0]);
    const known = new Map(lines.map((line) => [line, meanOf(line)]));
    const whole = [...known.values()].filter((mean) => mean !== null);
    return {
      telling,
      standing: (line) => {
        const own = known.get(line);
        return own === null ? null : 1 + whole.filter((other) => site.isBetter(other, own, choice.metric)).length;
      },
      mean: (line) => known.get(line),
      any: whole.length > 0,
    };
  };

  const tiles = (context, { telling, mean, standing }) => {
    const { lines, choice, rows } = context;
    const leader = lines.find((line) => standing(line) === 1);
    const tile = (label, ...content) => el("div", { class: "tile" }, el("dt", {}, label), el("dd", {}, content));
    const where = telling.length > 1 ? `average of ${telling.length} data sets` : telling[0]?.dataset;
    const cells = new Set(rows.map((row) => row.cell_id));
    return el(
      "dl",
      { class: "tiles" },
      leader && telling.length
        ? tile(
            `Best: ${where}, ${site.shots(telling[0].shots)}${telling[0].split === "all" ? "" : `, ${telling[0].split}`}`,
            site.link(["method", leader.method], leader.method),
            el("span", { class: "big" }, ` ${site.number(mean(leader), choice.metric)}`, el("small", {}, ` ${site.unit(choice.metric)}`)),
          )
        : null,
      tile("Methods", String(new Set(lines.map((line) => line.method)).size)),
      tile("Data sets", String(context.options.datasets.length)),
      tile("Cells", String(cells.size), el("small", {}, " method × setting")),
    );
  };

  /* Data sets that few methods have are in nobody's average. */
  const leftOut = ({ places, lines, protocol }) => {
    const rows = lines.map((line) => site.averageOf(line, protocol.protocol, places.at(-1)));
    const names = new Set(rows.flatMap((row) => row?.left_out?.split(", ") ?? []));
    return names.size ? ` Averages leave out ${[...names].join(", ")}, which fewer than half of the methods have.` : "";
  };

  const marked = ({ choice, protocol, places }) => {
    if (choice.metric !== protocol.primary_metric) {
      return [`. Differences are tested in ${protocol.primary_metric} alone.`];
    }
    const untested = [...new Set(places.map((place) => place.split))].filter((split) => ["H", "AVERAGE"].includes(split));
    return [
      "; ",
      el("span", { class: "mark" }, "≈"),
      " does not differ from it at the 5 % level, after Holm's correction over all pairs of the column, tested ",
      choice.test === "images"
        ? "over test examples, or over seeds where there is no such test."
        : "over seeds, or over test examples where seeds say nothing.",
      untested.length ? " Averages and H are not tested." : "",
    ];
  };

  const legend = (context, { choice, metric } = context) =>
    el(
      "p",
      { class: "note" },
      [site.sentence(metric.title), site.unit(choice.metric)].filter(Boolean).join(", "),
      `; ${metric.better} is better. Mean ± standard deviation over seeds. `,
      el("b", {}, "Bold"),
      " is the best of a column",
      ...marked(context),
      choice.metric === context.protocol.primary_metric && choice.dataset === "*" ? leftOut(context) : "",
    );

  site.view("protocol", {
    title: "",
    render(root, { path, query }) {
      const name = site.protocolOf(path);
      if (!name) {
        root.append(el("h1", {}, "The board is empty"), el("p", {}, "`shotboard run` fills it."));
        return;
      }
      const protocol = site.find("protocols", { protocol: name });
      const found = chosen(name, query);
      const every = site.linesOf(found.rows);
      const places = placesOf(found).filter((place) => every.some((line) => site.cellAt(line, place)));
      const present = every.filter((line) => places.some((place) => site.cellAt(line, place)));
      const context = {
        ...found,
        protocol,
        track: site.find("tracks", { track: protocol.track }),
        metric: site.metric(found.choice.metric),
        places,
        lines: present.filter(fits(found.choice)),
      };
      const standing = standings(context);
      const hasPublished = found.rows.some((row) => site.publishedOf(row, row).length);
      root.append(
        el(
          "div",
          { class: "title" },
          el("div", {}, el("h1", {}, site.words(name)), el("p", { class: "lead" }, [protocol.title, protocol.inference].filter((said) => said && said !== "inductive").join(" · "))),
          tiles(context, standing),
        ),
      );
      const card = el("section", { class: "card", "aria-label": "Leaderboard" }, choosers(found, present, hasPublished));
      root.append(card);
      const position = {
        title: "#",
        className: "position",
        value: standing.standing,
        about: "Position by the average, or by the most shots",
      };
      const columns = [...(standing.any ? [position] : []), ...site.columnsOf(context)];
      site.table(card, {
        name: `${name}-${found.choice.metric}`,
        label: `${site.words(name)}: ${found.choice.metric}, ${found.choice.backbone === "*" ? "all backbones" : found.choice.backbone}`,
        columns,
        rows: context.lines,
        order: standing.any ? [[0, "asc"]] : [[1, context.metric.better === "lower" ? "asc" : "desc"]],
        page: 100,
        remember: "search",
      });
      card.append(legend(context));
      site.renderSections("protocol", root, context);
    },
  });
}
