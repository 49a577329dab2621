"use strict";
/* The columns of a protocol's table: the method, averages, and what each place has. */
{
  const { el } = site;

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

  site.publishedOf = (cell, place) => {
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
        if (cell?.missing) {
          const gap = el("span", { class: "gap", tabindex: 0 }, "incomplete");
          return site.withTip(gap, () => [el("div", {}, `no average: lacks ${cell.missing}`)]);
        }
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
    const values = (line) => site.publishedOf(site.cellAt(line, place), place);
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
        const told = (row) =>
          `${site.number(row.published, row.metric)}: ${row.published_method}, ${row.source} (${row.verdict})`;
        return site.withTip(node, () => rows.map((row) => el("div", {}, told(row))));
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
      const interval = (row) => site.interval(row.ci95_low, row.ci95_high, row.metric);
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
          el("div", {}, row.ci95_low === null ? "" : `95 % over seeds: ${interval(row)}`),
        ]);
      };
      const text = (line) => {
        if (mean(line) !== null) return site.number(mean(line), choice.metric);
        return lacks(line) ? `lacks ${lacks(line)}` : "";
      };
      return [
        {
          group,
          title: "Average",
          about: "Mean over data sets, of methods that have all of them",
          value: mean,
          text,
          show,
          best: (line) => best !== null && mean(line) === best,
        },
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

  /* Which heads of a method answered in the places that are shown, where some of their classes were new. */
  const unseenHeads = (line, places) => [...new Set(places.map((place) => site.cellAt(line, place)?.unseen_head).filter(Boolean))];

  const methodColumn = ({ choice, lines, places }, setting = settingOf(lines)) => ({
    title: "Method",
    head: true,
    value: (line) => line.method,
    text: (line) => [line.method, line.variant, choice.backbone === "*" ? line.backbone : ""].filter(Boolean).join(" · "),
    show: (line) => {
      const flags = site.flagsOfLine(line);
      return el(
        "span",
        { class: "method" },
        site.link(["method", line.method], line.method),
        flags.map((flag) => el("abbr", { class: "flag", title: site.FLAGS[flag] }, site.words(flag).toLowerCase())),
        unseenHeads(line, places).map((head) => el("abbr", { class: "flag", title: `classes that were not learned are classified by ${head}` }, "unseen head")),
        line.learns ? null : el("abbr", { class: "flag", title: "reads no labelled example" }, "0 shots"),
        choice.backbone === "*" ? el("small", {}, line.backbone) : null,
        setting(line) ? el("small", { class: "setting", title: setting(line) }, setting(line)) : null,
      );
    },
  });

  site.columnsOf = (context) => {
    const title = placeTitle(context);
    return [
      methodColumn(context),
      ...averageColumns(context),
      ...context.places.flatMap((place) => [
        scoreColumn(context, place, title),
        ...(context.choice.intervals ? [intervalColumn(context, place, title)] : []),
        ...(context.choice.published ? [publishedColumn(context, place, title)] : []),
      ]),
    ];
  };
}
