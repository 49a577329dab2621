"use strict";
/* A protocol: choosers, the leaderboard, and the sections that others add to it.
 *
 * The context of those sections: { track, protocol, metric, choice, options, rows, lines, places }, where
 * `rows` are the scores of the chosen ground in the chosen metric, and `lines` and `places` the table. */
{
  const { el } = site;
  const LEADING = ["AVERAGE", "H", "all", "base"];

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
    const shotCounts = distinct(rows.map((row) => row.shots)).filter((k) => k > 0).sort((a, b) => a - b);
    const shots = (shotCounts.length ? shotCounts : [0]).map(String);
    const splits = distinct(rows.map((row) => row.split)).sort(site.bySplit);
    const lead = LEADING.find((split) => splits.includes(split)) ?? splits[0];
    const options = { backbones, metrics, grounds, datasets, shots, splits };
    const first = backbone === usual.backbone && testRows === asked && metric === usual.metric;
    const begin = first ? usual : { dataset: datasets.length > 1 ? "*" : datasets[0], shots: shots.at(-1), split: lead };
    const choice = {
      backbone,
      metric,
      rows: testRows,
      dataset: taken(query.get("dataset"), [...datasets, "*"], begin.dataset),
      shots: taken(query.get("shots"), [...shots, "*"], begin.shots),
      split: taken(query.get("split"), [...splits, "*"], begin.split),
      family: query.get("family") ?? "",
      flag: query.get("flag") ?? "",
      test: query.get("test") === "images" ? "images" : "seeds",
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
    const flags = site.flagsOf(site.methodOf(line.method));
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
    const flags = distinct(lines.flatMap((line) => site.flagsOf(site.methodOf(line.method))));
    const only = (known, control) => (known.length > 1 ? control : null);
    return el(
      "form",
      { class: "choosers", "aria-label": "What the table shows", onsubmit: (event) => event.preventDefault() },
      chooser("backbone", "Backbone", choice.backbone, all(options.backbones, undefined, "all backbones")),
      chooser("dataset", "Data set", choice.dataset, all(options.datasets, undefined, "all, a column each")),
      chooser("shots", "Shots", choice.shots, all(options.shots, undefined, "all, a column each")),
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
      chooser("test", "Marked by", choice.test, [["seeds", "test over seeds"], ["images", "test over examples"]]),
      toggle("intervals", "Intervals", choice.intervals),
      hasPublished ? toggle("published", "Published numbers", choice.published) : null,
    );
  };

  /* Columns. */

  const placeTitle = ({ choice, options }) => {
    const parts = [];
    if (choice.dataset === "*" && options.datasets.length > 1) parts.push((place) => place.dataset);
    if (choice.shots === "*" && options.shots.length > 1) parts.push((place) => site.shots(place.shots));
    if (choice.split === "*" && options.splits.length > 1) parts.push((place) => (place.split === "AVERAGE" ? "average" : place.split));
    return (place) => {
      const words = parts.map((part) => part(place));
      if (!words.length) return ["", place.dataset];
      return [words.slice(0, -1).join(" · "), words.at(-1)];
    };
  };

  const publishedOf = (cell, place) => {
    if (!cell?.cell_id) return [];
    const wanted = place.split === "H" ? "HM" : place.split;
    return site
      .where("published", { cell_id: cell.cell_id })
      .filter((row) => row.split === wanted || !["HM", "base", "new"].includes(wanted));
  };

  const about = (line, place, cell, pair, choice) => {
    const facts = [
      el("b", {}, `${line.method}, ${place.dataset}, ${site.shots(cell.shots)}`),
      `${site.scoreText(cell)} ${site.unit(cell.metric)} over ${site.plural(cell.n, "seed")}`,
      cell.ci95_low !== null && `95 % over seeds: ${site.interval(cell.ci95_low, cell.ci95_high, cell.metric)}`,
      cell.images_ci95_low !== null &&
        `95 % over test examples: ${site.interval(cell.images_ci95_low, cell.images_ci95_high, cell.metric)}`,
      cell.covers && `average of ${cell.covers}`,
      line.settings.length > 0 && `setting: ${line.settings.join("; ")}`,
    ];
    if (pair) {
      const [p, over] = site.corrected(pair, choice.test);
      facts.push(
        `to the best: ${site.number(pair.difference, cell.metric, { signed: true })}` +
          (p === null ? "" : `, p = ${site.p(p)} ${over}, Holm-corrected`),
      );
    }
    return facts.filter(Boolean).map((fact) => (fact instanceof Node ? fact : el("div", {}, fact)));
  };

  /* A column of scores: what is best in it, and which lines do not differ from that. */
  const scoreColumn = (context, place, title) => {
    const { lines, choice } = context;
    const best = site.bestOf(lines.map((line) => site.meanAt(line, place)), choice.metric);
    const leaders = lines.filter((line) => best !== null && site.meanAt(line, place) === best);
    const leader = leaders[0] && site.cellAt(leaders[0], place);
    const pairs = leader?.cell_id ? site.comparisonsOf(leader.cell_id, place.split, choice.metric) : new Map();
    const values = lines.map((line) => site.meanAt(line, place)).filter((value) => value !== null);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const pairOf = (line) => {
      const pair = pairs.get(site.cellAt(line, place)?.cell_id);
      return pair ? site.turned(pair) : null;
    };
    const near = (line) => {
      const pair = site.meanAt(line, place) === best ? null : pairOf(line);
      const p = pair && site.corrected(pair, choice.test)[0];
      return pair !== null && p !== null && p >= 0.05;
    };
    const [group, last] = title(place);
    const number = (name) => (line) => site.cellAt(line, place)?.[name] ?? null;
    return {
      group,
      title: last,
      value: (line) => site.meanAt(line, place),
      text: (line) => {
        const cell = site.cellAt(line, place);
        return cell ? site.scoreText(cell) + (near(line) ? " ≈" : "") : "";
      },
      raw: ["mean", "std", "n", "ci95_low", "ci95_high"].map((name) => [name, number(name)]),
      best: (line) => best !== null && site.meanAt(line, place) === best,
      mark: (td, line) => {
        const mean = site.meanAt(line, place);
        if (mean === null) return;
        if (near(line)) td.classList.add("near");
        const share = high > low ? (mean - low) / (high - low) : 1;
        td.style.setProperty("--fill", (site.isBetter(1, 0, choice.metric) ? share : 1 - share).toFixed(3));
        td.classList.add("filled");
      },
      show: (line) => {
        const cell = site.cellAt(line, place);
        if (!cell || cell.mean === null) return el("span", { class: "gap" }, "–");
        const link = el("a", { class: "cell", href: cell.cell_id ? site.href(["cell", cell.cell_id]) : null }, site.score(cell));
        if (near(line)) link.append(el("span", { class: "mark", "aria-label": "does not differ from the best" }, "≈"));
        return site.withTip(link, () => about(line, place, cell, pairOf(line), choice));
      },
    };
  };

  const intervalColumn = ({ choice }, place, title) => ({
    group: title(place)[0],
    title: `${title(place)[1]} 95 %`,
    value: (line) => site.cellAt(line, place)?.ci95_low ?? null,
    text: (line) => {
      const cell = site.cellAt(line, place);
      return cell ? site.interval(cell.ci95_low, cell.ci95_high, choice.metric) : "";
    },
    show(line) {
      return el("span", { class: "score" }, this.text(line));
    },
  });

  const publishedColumn = (_, place, title) => {
    const values = (line) => publishedOf(site.cellAt(line, place), place);
    const median = (line) => {
      const known = values(line).map((row) => row.published).sort((a, b) => a - b);
      return known.length ? known[Math.floor((known.length - 1) / 2)] : null;
    };
    return {
      group: title(place)[0],
      title: `${title(place)[1]} published`,
      value: median,
      text: (line) => site.number(median(line), values(line)[0]?.metric),
      show(line) {
        const rows = values(line);
        if (!rows.length) return el("span", { class: "gap" }, "–");
        const node = el("span", { class: "score published", tabindex: 0 }, this.text(line));
        return site.withTip(node, () =>
          rows.map((row) => el("div", {}, `${site.number(row.published, row.metric)}: ${row.published_method}, ${row.source} (${row.verdict})`)),
        );
      },
    };
  };

  /* Averages and mean ranks of the board, for the metric that rows are ranked by. */
  const averageColumns = (context) => {
    const { choice, options, places, lines, protocol } = context;
    if (choice.dataset !== "*" || options.datasets.length < 2 || choice.metric !== protocol.primary_metric) return [];
    const groups = site.groupBy(places, (place) => `${site.shots(place.shots)} ${place.split}`);
    return [...groups.values()].flatMap(([place]) => {
      const averages = new Map(lines.map((line) => [line, site.averageOf(line, protocol.protocol, place)]));
      const mean = (line) => averages.get(line)?.mean ?? null;
      const rank = (line) => (line.learns || place.shots === 0 ? (averages.get(line)?.mean_rank ?? null) : null);
      const best = site.bestOf(lines.map(mean), choice.metric);
      const first = Math.min(...lines.map((line) => rank(line) ?? Infinity));
      const parts = [choice.shots === "*" ? site.shots(place.shots) : "", choice.split === "*" ? place.split : ""];
      const group = groups.size > 1 ? ["all data sets", ...parts].filter(Boolean).join(" · ") : "";
      const lacks = (line) => averages.get(line)?.missing ?? "";
      const gap = (line) => {
        const node = el("span", { class: "gap", tabindex: 0 }, lacks(line) ? "incomplete" : "–");
        const why = lacks(line)
          ? `No average: ${line.method} has no score on ${lacks(line)}.`
          : `No average: ${line.method} has another setting on each data set.`;
        return site.withTip(node, () => el("div", {}, why));
      };
      const show = (line) => {
        const row = averages.get(line);
        if (mean(line) === null) return gap(line);
        const node = el("span", { class: "score", tabindex: 0 }, site.number(row.mean, choice.metric));
        return site.withTip(node, () => [
          el("div", {}, `${site.scoreText(row)} ${site.unit(row.metric)}, mean over ${row.covers}`),
          el("div", {}, row.ci95_low === null ? "" : `95 % over seeds: ${site.interval(row.ci95_low, row.ci95_high, row.metric)}`),
        ]);
      };
      const text = (line) => (mean(line) === null ? (lacks(line) ? `lacks ${lacks(line)}` : "") : site.number(mean(line), choice.metric));
      return [
        { group, title: "Average", about: "Mean over data sets, of methods that have all of them", value: mean, text, show, best: (line) => best !== null && mean(line) === best },
        {
          group,
          title: "Mean rank",
          about: "Over the same data sets, among methods that learn from as many labelled examples; 1 is best",
          value: rank,
          text: (line) => (rank(line) === null ? "" : rank(line).toFixed(1)),
          best: (line) => rank(line) !== null && rank(line) === first,
        },
      ];
    });
  };

  /* What tells the setting of a line from those of the others. */
  const settingOf = (lines) => {
    const wordsOf = (line) => [...new Set((line.variant || line.settings.join(" ")).split(" "))];
    const words = new Map(lines.map((line) => [line, wordsOf(line)]));
    const shared = [...words.values()].reduce((left, own) => left?.filter((word) => own.includes(word)) ?? own, null);
    return (line) => words.get(line).filter((word) => lines.length < 2 || !shared.includes(word)).join(" ");
  };

  const methodColumn = ({ choice, lines }, setting = settingOf(lines)) => ({
    title: "Method",
    head: true,
    value: (line) => line.method,
    text: (line) => [line.method, line.variant, choice.backbone === "*" ? line.backbone : ""].filter(Boolean).join(" · "),
    show: (line) => {
      const flags = site.flagsOf(site.methodOf(line.method));
      return el(
        "span",
        { class: "method" },
        site.link(["method", line.method], line.method),
        flags.map((flag) => el("abbr", { class: "flag", title: site.FLAGS[flag] }, site.words(flag).toLowerCase())),
        line.learns ? null : el("abbr", { class: "flag", title: "reads no labelled example" }, "0 shots"),
        choice.backbone === "*" ? el("small", {}, line.backbone) : null,
        setting(line) ? el("small", { class: "setting", title: setting(line) }, setting(line)) : null,
      );
    },
  });

  /* Where a line stands, by its average or by its one most telling place; ties share a position. */
  const standings = ({ lines, places, choice, protocol }) => {
    const shots = Math.max(...places.map((place) => place.shots));
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
  const leftOut = ({ choice, places, lines, protocol }) => {
    if (choice.dataset !== "*" || choice.metric !== protocol.primary_metric || places.length < 2) return "";
    const names = new Set(lines.flatMap((line) => (site.averageOf(line, protocol.protocol, places.at(-1))?.left_out ?? "").split(", ")).filter(Boolean));
    return names.size ? ` Averages leave out ${[...names].join(", ")}, which fewer than half of the methods have.` : "";
  };

  const legend = (context, { choice, metric } = context) =>
    el(
      "p",
      { class: "note" },
      `${site.sentence(metric.title)}${site.unit(choice.metric) ? `, ${site.unit(choice.metric)}` : ""}; ${metric.better} is better. `,
      "Mean ± standard deviation over seeds. ",
      el("b", {}, "Bold"),
      " is the best of a column; ",
      el("span", { class: "mark" }, "≈"),
      " does not differ from it at the 5 % level, after Holm's correction over all pairs of the column",
      choice.test === "images" ? ", tested over test examples." : ", tested over seeds, or over test examples where seeds say nothing.",
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
      const hasPublished = found.rows.some((row) => publishedOf(row, row).length);
      root.append(
        el(
          "div",
          { class: "title" },
          el("div", {}, el("h1", {}, site.words(name)), el("p", { class: "lead" }, protocol.title)),
          tiles(context, standing),
        ),
      );
      const card = el("section", { class: "card", "aria-label": "Leaderboard" }, choosers(found, present, hasPublished));
      root.append(card);
      const title = placeTitle(found);
      const position = { title: "#", className: "position", value: standing.standing, about: "Position by the average, or by the most shots" };
      const columns = [
        ...(standing.any ? [position] : []),
        methodColumn(context),
        ...averageColumns(context),
        ...places.flatMap((place) => [
          scoreColumn(context, place, title),
          ...(found.choice.intervals ? [intervalColumn(context, place, title)] : []),
          ...(found.choice.published ? [publishedColumn(context, place, title)] : []),
        ]),
      ];
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
