"use strict";
/* Runs of the store, and what differs between any two of them. */
{
  const { el } = site;

  const PLACE = ["protocol", "dataset", "shots", "backbone", "method", "split"];
  const name = (run) => `${run.suite ?? ""} ${run.started_at}`;
  const commit = (run) => (run.git_commit ?? "").slice(0, 10) + (run.git_dirty ? ", changed" : "");
  const trialsOf = (run) => site.where("run_trials", { run_id: run.run_id }).map((row) => row.trial_id);

  /* Means by cell and split of what a run saw: as it kept it, else as the board has its trials now. */
  const meansOf = (run) => {
    const trials = new Map(site.rows("trials").map((trial) => [trial.trial_id, trial]));
    const kept = site.where("run_scores", { run_id: run.run_id });
    const members = new Set(trialsOf(run));
    const values = kept.length ? kept : site.rows("trial_scores").filter((row) => members.has(row.trial_id));
    const means = new Map();
    for (const row of values) {
      const trial = trials.get(row.trial_id);
      if (!trial) continue;
      const key = `${trial.cell_id}\n${row.split}\n${row.metric}`;
      const entry = means.get(key) ?? { trial, split: row.split, metric: row.metric, sum: 0, n: 0 };
      entry.sum += row.value ?? NaN;
      entry.n += 1;
      means.set(key, entry);
    }
    return means;
  };

  site.compareRuns = (before, after) => {
    const [a, b] = [meansOf(before), meansOf(after)];
    const rows = [];
    for (const key of new Set([...a.keys(), ...b.keys()])) {
      const [one, two] = [a.get(key), b.get(key)];
      const { trial, split, metric } = one ?? two;
      const mean = (entry) => (entry && Number.isFinite(entry.sum) ? entry.sum / entry.n : null);
      const [first, second] = [mean(one), mean(two)];
      const difference = first === null || second === null ? null : second - first;
      const same = difference !== null && Math.abs(difference) < 1e-9 && one.n === two.n;
      rows.push({
        ...trial,
        split,
        metric,
        before: first,
        after: second,
        difference,
        seeds_before: one?.n ?? 0,
        seeds_after: two?.n ?? 0,
        change: !one ? "only in B" : !two ? "only in A" : same ? "same" : "moved",
      });
    }
    return rows;
  };

  /* Causes that the board has named, for the last two whole runs of a suite. */
  const causesOf = (before, after) =>
    site.rows("changes").filter((row) => row.previous_run_id === before.run_id && row.current_run_id === after.run_id);

  const differences = (root, before, after, query) => {
    const rows = site.compareRuns(before, after);
    const causes = causesOf(before, after);
    const counts = site.groupBy(rows, (row) => row.change);
    const count = (label) => el("span", { class: "big" }, String(counts.get(label)?.length ?? 0));
    const tile = (label) =>
      el("div", { class: "tile" }, el("dt", {}, site.words(label)), el("dd", {}, count(label)));
    const card = site.card(root, "What differs", el("dl", { class: "tiles" }, ["same", "moved", "only in A", "only in B"].map(tile)));
    const change = query.get("change") ?? "";
    const kinds = [["", "all that differs"], "moved", "only in A", "only in B", "same"];
    card.append(el("form", { class: "choosers" }, site.chooser("change", "Show", change, kinds)));
    const shown = rows.filter((row) => (change ? row.change === change : row.change !== "same"));
    const told = (row) => causes.find((c) => PLACE.every((key) => c[key] === row[key]));
    site.table(card, {
      name: `runs-${before.run_id}-${after.run_id}`,
      label: "Differences of two runs",
      rows: shown,
      columns: [
        { title: "Method", head: true, value: (r) => r.method, show: (r) => site.link(["method", r.method], r.method) },
        ...["dataset", "protocol", "backbone", "shots", "split"].map(site.columnOf),
        { title: "A", value: (r) => r.before, text: (r) => site.number(r.before, r.metric) },
        { title: "B", value: (r) => r.after, text: (r) => site.number(r.after, r.metric) },
        { title: "B − A", value: (r) => r.difference, text: (r) => site.number(r.difference, r.metric, { signed: true }) },
        { title: "Seeds", value: (r) => r.seeds_after, text: (r) => `${r.seeds_before} / ${r.seeds_after}` },
        { title: "Change", value: (r) => r.change },
        ...(causes.length ? [{ title: "Verdict", value: (r) => told(r)?.verdict ?? null }] : []),
        ...(causes.length ? [{ title: "Cause", value: (r) => told(r)?.cause ?? null, wide: true }] : []),
        { title: "Setting", value: (r) => r.variant, wide: true },
      ],
    });
  };

  site.page("runs", "Runs");
  site.view("runs", {
    title: "Runs",
    render(root, { query }) {
      const runs = site.rows("runs");
      root.append(el("h1", {}, "Runs"));
      const flows = site.about.served.prefect;
      const inPrefect = (run) => site.outside(flows, "/runs/flow-run/", run.flow_run_id) ?? "";
      site.table(site.card(root, null), {
        name: "runs",
        label: "Runs",
        rows: runs,
        page: 25,
        columns: [
          { title: "Started, UTC", head: true, value: (r) => r.started_at },
          { title: "Ended", value: (r) => r.ended_at },
          { title: "Suite", value: (r) => r.suite, text: (r) => (r.suite ?? "") + (r.partial ? ", a part" : "") },
          { title: "Status", value: (r) => r.status, text: site.statusText, show: site.statusShown },
          { title: "Planned", value: (r) => r.planned },
          { title: "Reused", value: (r) => r.reused },
          { title: "Computed", value: (r) => r.computed },
          { title: "By others", value: (r) => r.elsewhere },
          { title: "Failed", value: (r) => r.failed },
          { title: "Commit", value: (r) => r.git_commit?.slice(0, 10) ?? null, text: commit },
          { title: "Run", value: (r) => r.run_id, show: (r) => el("code", {}, r.run_id) },
          ...(flows ? [{ title: "In Prefect", value: (r) => r.flow_run_id, show: inPrefect }] : []),
        ],
        order: [[0, "desc"]],
      });
      if (runs.length < 2) return;
      const suite = runs.find((run) => runs.filter((other) => other.suite === run.suite).length > 1)?.suite;
      const usual = suite === undefined ? runs : runs.filter((run) => run.suite === suite);
      const taken = (asked, otherwise) => runs.find((run) => run.run_id === asked) ?? otherwise;
      const [after, before] = [taken(query.get("b"), usual[0]), taken(query.get("a"), usual[1])];
      const options = runs.map((run) => [run.run_id, name(run)]);
      site.card(
        root,
        "Compare two runs",
        el(
          "form",
          { class: "choosers", "aria-label": "Which runs", onsubmit: (event) => event.preventDefault() },
          site.chooser("a", "Run A", before.run_id, options),
          site.chooser("b", "Run B", after.run_id, options),
        ),
      );
      differences(root, before, after, query);
      site.renderSections("runs", root, { before, after });
    },
  });
}
