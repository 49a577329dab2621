"use strict";
/* From scores to tables of methods: which cells compete, lines, the best, averages and mean ranks.
 *
 * A place is { dataset, shots, split }, a column of such a table; a line is a method, in one setting
 * where it was run in several, with its scores by place. The beginnings of a protocol are chosen in
 * tasks/site/headline.py. */
{
  const FLAGS = {
    transductive: "reads the test examples together",
    test_time: "adapts at test time",
    unlabelled: "reads unlabelled examples",
    external_knowledge: "uses knowledge from elsewhere",
    descriptions: "reads descriptions of the classes",
    teacher: "has a teacher",
  };
  site.FLAGS = FLAGS;

  site.flagsOf = (method) => Object.keys(FLAGS).filter((flag) => method?.[flag]);

  /* The flags of a line of scores: what was seen of the test examples there, not what its method may see. */
  const INFERENCES = { transductive: "transductive", "test-time": "test_time" };
  site.flagsOfLine = (line) => {
    const seen = new Set([...line.cells.values()].map((row) => INFERENCES[row.inference]));
    const known = [...line.cells.values()].some((row) => row.inference);
    const told = (flag) => (known && Object.values(INFERENCES).includes(flag) ? seen.has(flag) : site.methodOf(line.method)?.[flag]);
    return Object.keys(FLAGS).filter(told);
  };
  site.methodOf = (name) => site.find("methods", { method: name });
  site.familyOf = (name) => site.methodOf(name)?.card?.family ?? "";

  site.placeKey = ({ dataset, shots, split }) => `${dataset}\n${shots}\n${split}`;

  site.isBetter = (a, b, metric) => (site.metric(metric).better === "lower" ? a < b : a > b);

  const groupBy = (rows, key) => {
    const groups = new Map();
    for (const row of rows) {
      const name = key(row);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(row);
    }
    return groups;
  };
  site.groupBy = groupBy;

  /* Lines of scores on one ground. A score without labelled examples stands at every number of shots. */
  site.linesOf = (rows) => {
    const counts = [...new Set(rows.map((row) => row.shots))].filter((shots) => shots !== 0);
    const every = counts.length ? counts : [0];
    const lines = [];
    for (const members of groupBy(rows, (row) => `${row.method}\n${row.backbone}`).values()) {
      const alike = new Set(members.map(site.placeKey)).size === members.length;
      const groups = groupBy(members, (row) => (alike ? "" : row.variant || "published"));
      for (const [variant, group] of groups) {
        const cells = new Map();
        for (const row of [...group].sort((a, b) => site.shotsOrder(a.shots) - site.shotsOrder(b.shots))) {
          for (const shots of row.shots === 0 ? every : [row.shots]) cells.set(site.placeKey({ ...row, shots }), row);
        }
        const { method, backbone } = group[0];
        const settings = [...new Set(group.map((row) => row.variant).filter(Boolean))];
        lines.push({ method, backbone, variant, settings, cells, learns: group.some((row) => row.shots !== 0) });
      }
    }
    return lines;
  };

  site.cellAt = (line, place) => line.cells.get(site.placeKey(place)) ?? null;
  site.meanAt = (line, place) => site.cellAt(line, place)?.mean ?? null;

  site.bestOf = (values, metric) =>
    values.filter((value) => value !== null).reduce((best, v) => (best === null || site.isBetter(v, best, metric) ? v : best), null);

  /* What the board has over data sets for a line: a row of `averages` with its `mean_rank`. Null where
   * the board has none: for a metric that rows are not ranked by, or a line whose setting differs from
   * one data set to the next. Ranks are among methods that read as many labelled examples. */
  site.averageOf = (line, protocol, { shots, split }) => {
    const own = line.learns ? shots : 0;
    const cells = [...line.cells.values()].filter((cell) => cell.shots === own && cell.split === split);
    const variants = new Set(cells.map((cell) => cell.variant));
    if (variants.size !== 1) return null;
    const { metric, method, variant, backbone, test_rows_per_class } = cells[0];
    const where = { protocol, source: null, backbone, test_rows_per_class, shots: own, split, metric, method, variant };
    const average = site.find("averages", where);
    return average ? { ...average, mean_rank: site.find("ranks", where)?.mean_rank ?? null } : null;
  };

  /* Every comparison that a cell takes part in on a split, from its side, by the other's id. */
  site.comparisonsOf = (cell, split, metric) => {
    const found = new Map();
    for (const row of site.where("significance", { cell_a: cell, split, metric })) found.set(row.cell_b, row);
    for (const row of site.where("significance", { cell_b: cell, split, metric })) found.set(row.cell_a, site.turned(row));
    return found;
  };

  const minus = (value) => (value === null ? null : -value);
  site.turned = (row) => ({
    ...row,
    cell_a: row.cell_b,
    cell_b: row.cell_a,
    mean_a: row.mean_b,
    mean_b: row.mean_a,
    difference: minus(row.difference),
    only_a: row.only_b,
    only_b: row.only_a,
  });

  /* Holm's correction of p values over these tests alone; null is no test. */
  site.holm = (values) => {
    const made = values.map((p, at) => [p, at]).filter(([p]) => p !== null).sort(([a], [b]) => a - b);
    const held = values.map(() => null);
    let worst = 0;
    made.forEach(([p, at], place) => {
      worst = Math.max(worst, (made.length - place) * p);
      held[at] = Math.min(1, worst);
    });
    return held;
  };

  /* Pairs whose correction is over them, and not over the table of the board that they are from. */
  site.heldTogether = (pairs) => {
    const [seeds, images] = ["p", "p_images"].map((name) => site.holm(pairs.map((pair) => pair[name])));
    return pairs.map((pair, at) => ({ ...pair, p_holm: seeds[at], p_images_holm: images[at] }));
  };

  /* The corrected p of a pair, over test examples unless seeds are asked for, and over what it is. With
   * the few seeds of a paper, no test over seeds passes a correction for many methods. Where one of the
   * two says nothing, the other does. */
  site.corrected = (pair, test) => {
    const over = { images: [pair.p_images_holm, "over test examples"], seeds: [pair.p_holm, "over seeds"] };
    const [first, second] = test === "seeds" ? [over.seeds, over.images] : [over.images, over.seeds];
    return first[0] === null ? second : first;
  };
}
