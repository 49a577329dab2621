"use strict";
/* Every trial, and the trials of one cell. The page of one trial is a view of its own: "trial". */
{
  const { el } = site;

  /* The scores of each trial in the metric that its protocol is ranked by, by trial. */
  const scoresByTrial = () => site.groupBy(site.rows("trial_scores"), (row) => row.trial_id);

  const trialTable = (parent, trials, label) => {
    const scores = scoresByTrial();
    const main = (trial) => (scores.get(trial.trial_id) ?? []).toSorted((a, b) => site.bySplit(a.split, b.split));
    const idOf = (trial) => site.link(["trial", trial.trial_id], trial.trial_id);
    const words = (trial) =>
      main(trial)
        .map((row) => (main(trial).length > 1 ? `${row.split} ` : "") + site.number(row.value, row.metric))
        .join(", ");
    return site.table(parent, {
      name: label.replaceAll(/\W+/g, "-").toLowerCase(),
      label,
      rows: trials,
      columns: [
        { title: "Trial", head: true, value: (t) => t.trial_id, show: (t) => el("code", {}, idOf(t)) },
        { title: "Method", value: (t) => t.method, show: (t) => site.link(["method", t.method], t.method) },
        ...["dataset", "protocol", "backbone", "shots", "seed"].map(site.columnOf),
        { title: "Score", value: (t) => main(t)[0]?.value ?? null, text: words, show: (t) => el("span", { class: "score" }, words(t)) },
        { title: "Status", value: (t) => t.status, text: site.statusText, show: site.statusShown },
        { title: "Tuned in", value: (t) => t.tune_seconds, text: (t) => site.seconds(t.tune_seconds) },
        { title: "Started, UTC", value: (t) => t.started_at, show: (t) => el("span", { class: "score" }, t.started_at) },
        { title: "Setting", value: (t) => t.variant, wide: true },
      ],
      order: [],
    });
  };

  site.page("trials", "Trials");
  site.view("trials", {
    title: "Trials",
    render(root, { query }) {
      root.append(el("h1", {}, "Trials"));
      const names = ["protocol", "method", "dataset", "backbone", "status"];
      const asked = Object.fromEntries(names.map((name) => [name, query.get(name)]).filter(([, value]) => value));
      const form = el(
        "form",
        { class: "choosers", "aria-label": "Which trials", onsubmit: (event) => event.preventDefault() },
        names.map((name) => site.chooser(name, site.words(name), query.get(name) ?? "", ["", ...site.valuesOf("trials", name)])),
      );
      const card = site.card(root, null, form);
      trialTable(card, site.where("trials", asked), "Trials");
    },
  });

  site.view("cell", {
    title: "Cell",
    render(root, { path }) {
      const trials = site.where("trials", { cell_id: path[0] ?? "" });
      if (!trials.length) return void root.append(el("h1", {}, `No cell is called ${path[0]}`));
      const [first] = trials;
      const protocol = site.find("protocols", { protocol: first.protocol });
      const above = [protocol?.track ?? "", first.protocol];
      const raw = ["mean", "std"].map((name) => [name, (r) => r[name]]);
      const interval = (name) => (r) => site.interval(r[`${name}_low`], r[`${name}_high`], r.metric);
      root.append(
        el("p", { class: "crumbs" }, site.link(above, site.words(first.protocol), { backbone: first.backbone })),
        el("h1", {}, `${first.method} on ${first.dataset}, ${site.shots(first.shots)}`),
        el("p", { class: "lead" }, `${site.plural(trials.length, "trial")} that differ in their seed alone.`),
      );
      site.table(site.card(root, "Scores"), {
        name: `cell-${path[0]}`,
        label: "Scores of the cell",
        rows: site.where("scores", { cell_id: path[0] }),
        columns: [
          { title: "Metric", head: true, value: (r) => r.metric },
          { title: "Split", value: (r) => r.split },
          { title: "Mean ± std", value: (r) => r.mean, text: site.scoreText, show: site.score, raw },
          { title: "Unit", value: (r) => site.unit(r.metric) },
          { title: "Seeds", value: (r) => r.n },
          { title: "95 % over seeds", value: (r) => r.ci95_low, text: interval("ci95") },
          { title: "95 % over test examples", value: (r) => r.images_ci95_low, text: interval("images_ci95") },
          { title: "Better", value: (r) => site.metric(r.metric).better },
        ],
        marks: false,
      });
      trialTable(site.card(root, "Trials"), trials, `Trials of ${first.method} on ${first.dataset}`);
      site.card(root, "Setting", site.settingOf(first));
      site.renderSections("cell", root, { cell: path[0], trials });
    },
  });

  /* What a trial is, without its seed. */
  site.settingOf = (trial) =>
    site.facts([
      ["Method", site.link(["method", trial.method], `${trial.method}, revision ${trial.method_revision}`)],
      ["Data set", site.link(["dataset", trial.dataset], trial.dataset)],
      ["Backbone", site.link(["backbone", trial.backbone], trial.backbone)],
      ["Setting", [trial.setting, trial.variant].filter(Boolean).join(": ")],
      ["Selection", trial.selection],
      ["Views", trial.views],
      ["Precision", trial.precision],
      ["Prompts", trial.template_set],
      ["Test rows", trial.test_rows_per_class === null ? "all" : `at most ${trial.test_rows_per_class} a class`],
      ["Held out", trial.held_out],
      ["Hyperparameters", el("code", {}, site.assigned(trial.hyperparameters ?? {}))],
    ]);
}
