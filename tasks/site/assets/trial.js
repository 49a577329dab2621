"use strict";
/* The page of one trial, at #/trial/<id>: how it learned, where it went wrong, and where it is from.
 * Its sections get { trial }. */
{
  const { el } = site;

  const found = (start) => {
    const fits = start ? site.rows("trials").filter((trial) => trial.trial_id.startsWith(start)) : [];
    return fits.length === 1 ? fits[0] : null;
  };

  /* What one row shows: its picture or its text, or that the page has neither. */
  const example = (row) => {
    const shown = site.find("examples", { tested: row.tested, tested_fingerprint: row.tested_fingerprint, row_id: row.row_id });
    if (!shown) return el("div", { class: "absent" }, "not on this page");
    if (!shown.shown.startsWith("data:image/")) return el("blockquote", {}, shown.shown);
    return el("img", { src: shown.shown, alt: `test row ${row.row_id} of ${row.tested}, a ${row.class}`, loading: "lazy" });
  };

  const mistake = (row) =>
    el(
      "li",
      {},
      example(row),
      el("p", {}, "said ", el("strong", {}, row.taken_for), `, ${(100 * row.confidence).toFixed(1)} %`),
      el("p", {}, "is ", el("strong", {}, row.class), el("small", {}, ` · row ${row.row_id}`)),
    );

  const drawMistakes = (root, trial) => {
    const rows = site.where("mistakes", { trial_id: trial.trial_id });
    if (!rows.length) return;
    const card = site.card(root, "Wrong answers, surest first");
    for (const [split, some] of site.groupBy(rows, (row) => row.split)) {
      card.append(el("h3", {}, site.splitWords(split)), el("ul", { class: "mistakes" }, some.map(mistake)));
    }
  };

  const drawAttention = (root, trial) => {
    const picture = site.find("attention", { trial_id: trial.trial_id });
    if (!picture) return;
    site.card(
      root,
      "What it looks at",
      el("p", {}, "A test image of a class in each line, then what the token of that class attends to: over all heads, and head by head."),
      el("img", { class: "attention", src: picture.shown, alt: "Test images, and maps of attention laid over them", loading: "lazy" }),
    );
  };

  const drawConfusions = (root, trial) => {
    const rows = site.where("confusions", { trial_id: trial.trial_id });
    if (!rows.length) return;
    site.table(site.card(root, "Confusions, most frequent first"), {
      name: `confusions-${trial.trial_id}`,
      label: "Confusions",
      rows,
      columns: [
        { title: "Class", head: true, value: (r) => r.class },
        { title: "Taken for", value: (r) => r.taken_for },
        { title: "Split", value: (r) => r.split },
        { title: "Test rows", value: (r) => r.n },
        { title: "Of the class, %", value: (r) => r.share, text: (r) => (100 * r.share).toFixed(1) },
      ],
      marks: false,
    });
  };

  const origin = (trial) =>
    site.facts([
      ["Started, UTC", trial.started_at],
      ["Suite", trial.suite],
      ["Device", trial.device],
      ["torch", trial.torch_version],
      ["Commit", trial.git_commit && el("code", {}, trial.git_commit.slice(0, 10))],
      ["Teacher", trial.teacher_trial_id && site.link(["trial", trial.teacher_trial_id], trial.teacher_trial_id)],
      ["Data", el("code", {}, trial.dataset_fingerprint)],
      ["Backbone", el("code", {}, trial.backbone_fingerprint)],
      ["Draw", trial.episode_fingerprint && el("code", {}, trial.episode_fingerprint)],
      ["MLflow run", site.outside(site.about.served.mlflow, "/#/runs/", trial.mlflow_run_id)],
      ["Prefect flow run", site.outside(site.about.served.prefect, "/runs/flow-run/", trial.flow_run_id)],
    ]);

  const cost = (trial) =>
    site.facts([
      ["Tuned in", site.seconds(trial.tune_seconds)],
      ["Evaluated in", site.seconds(trial.evaluate_seconds)],
      ["Trainable parameters", site.count(trial.trainable_parameters)],
      ["Steps", site.count(trial.steps)],
      ["Operations", site.count(trial.tune_flops)],
      ["Peak memory", trial.peak_memory_bytes && `${site.count(trial.peak_memory_bytes)}B`],
    ]);

  const scores = (trial) => {
    const rows = site.where("trial_scores", { trial_id: trial.trial_id }).toSorted((a, b) => site.bySplit(a.split, b.split));
    const kept = rows.map((row) => [
      site.splitWords(row.split),
      `${site.number(row.value, row.metric)} ${site.unit(row.metric)} ${site.words(row.metric).toLowerCase()}, ${site.plural(row.n, "test row")}`,
    ]);
    return [site.facts(kept), el("p", {}, site.link(["cell", trial.cell_id], "All metrics, over the seeds"))];
  };

  site.view("trial", {
    title: "Trial",
    render(root, { path }) {
      const trial = found(path[0]);
      if (!trial) {
        root.append(el("h1", {}, `No trial is called ${path[0] ?? ""}`), el("p", {}, site.link(["trials"], "All trials")));
        return;
      }
      const protocol = site.find("protocols", { protocol: trial.protocol });
      root.append(
        el(
          "p",
          { class: "crumbs" },
          site.link([protocol?.track ?? "", trial.protocol], site.words(trial.protocol), { backbone: trial.backbone }),
          " / ",
          site.link(["cell", trial.cell_id], `${trial.method} on ${trial.dataset}, ${site.shots(trial.shots)}`),
        ),
        el("h1", {}, `Trial ${trial.trial_id}`),
        el("p", { class: "lead" }, `${trial.method} on ${trial.dataset} with ${trial.backbone}, ${site.shots(trial.shots)}, seed ${trial.seed}.`),
      );
      if (trial.status !== "completed") {
        site.card(root, "Failed", el("p", { class: "fault" }, trial.error));
      } else {
        site.card(root, "Scores", ...scores(trial));
        site.renderSections("trial", root, { trial });
        drawAttention(root, trial);
        drawConfusions(root, trial);
        drawMistakes(root, trial);
        site.card(root, "Cost", cost(trial));
      }
      site.card(root, "Setting", site.settingOf(trial));
      site.card(root, "Where it is from", origin(trial));
      if (trial.status === "completed") {
        site.card(root, "Use it", el("pre", {}, `shotboard show ${trial.trial_id}\nshotboard predict ${trial.trial_id} EXAMPLE`));
      }
    },
  });
}
