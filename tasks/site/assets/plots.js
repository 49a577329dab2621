"use strict";
/* Plots below the table of a protocol, and the losses of a trial.
 *
 * A plot shows one place of the board: that which is chosen for the table, as far as the plot has one.
 * What the table does not choose, such as a cost, or shows several of, is chosen here. */
{
  const { el } = site;
  const AVERAGE = "AVERAGE";
  const PAGE = { backbone: "backbone", dataset: "dataset", shots: "shots", split: "split" };
  const LABELS = {
    backbone: "Backbone",
    dataset: "Data set",
    source: "Source",
    shots: "Shots",
    split: "Split",
    test_rows_per_class: "Test rows",
    cost: "Cost",
  };
  const COSTS = {
    tune_seconds: "time to tune",
    tune_flops: "operations to tune",
    trainable_parameters: "trainable parameters",
    evaluate_seconds: "time to test",
  };
  const own = new Map(); // what was chosen here, by plot and column

  const words = (column, value) => {
    if (column === "cost") return COSTS[value] ?? value;
    if (column === "shots") return site.shots(value);
    if (column === "split") return site.splitWords(value);
    if (column === "test_rows_per_class") return value === null ? "all" : `at most ${value} a class`;
    return value === AVERAGE ? "mean over data sets" : String(value ?? "–");
  };

  /* What the table has chosen for a column; undefined where it leaves it open. */
  const asked = (column, choice) => {
    if (column === "test_rows_per_class") return choice.rows === "all" ? null : Number(choice.rows);
    const value = choice[PAGE[column]];
    if (value === undefined || value === "*") return column === "dataset" ? AVERAGE : undefined;
    return column === "shots" ? Number(value) : value;
  };

  const open = (column, choice) => !(column in PAGE || column === "test_rows_per_class") || choice[PAGE[column]] === "*";

  /* The figures that remain as each column takes the value that is wanted, or else the one with most rows. */
  const chosen = (plot, figures, choice) => {
    let left = figures;
    const steps = [];
    const size = (figure) => (figure.missing ? 0 : (Object.values(figure.rows)[0]?.length ?? 0));
    plot.ground.forEach((column, at) => {
      const values = [...new Set(left.map((figure) => figure.ground[at]))];
      const wanted = [own.get(`${plot.name} ${column}`), asked(column, choice)].find((value) => values.includes(value));
      const fuller = (one, other) => size(one) > size(other) || (column === "shots" && size(one) === size(other));
      const fullest = left.reduce((best, figure) => (fuller(figure, best) ? figure : best), left[0]);
      const value = wanted === undefined ? fullest.ground[at] : wanted;
      steps.push({ column, values, value });
      left = left.filter((figure) => figure.ground[at] === value);
    });
    return { figure: left[0], steps };
  };

  const chooser = (plot, { column, values, value }, changed) => {
    const id = `plot-${plot.name}-${column}`;
    const change = (event) => {
      own.set(`${plot.name} ${column}`, values[Number(event.target.value)]);
      changed(id);
    };
    const options = values.map((each, at) => el("option", { value: at, selected: each === value }, words(column, each)));
    return el("div", { class: "chooser" }, el("label", { for: id }, LABELS[column] ?? column), el("select", { id, onchange: change }, options));
  };

  const show = (box, plot, figures, context) => {
    const place = el("div", { class: "plot" });
    const form = el("form", { class: "choosers", "aria-label": `What ${plot.title} shows`, onsubmit: (event) => event.preventDefault() });
    const draw = async (focused) => {
      const { figure, steps } = chosen(plot, figures, context.choice);
      const offered = steps.filter(({ column, values, value }) => {
        const elsewhere = asked(column, context.choice) !== undefined && asked(column, context.choice) !== value;
        return column !== "protocol" && values.length > 1 && (figure.missing || elsewhere || open(column, context.choice));
      });
      form.replaceChildren(...offered.map((step) => chooser(plot, step, draw)));
      form.hidden = offered.length === 0;
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
      if (figure.missing) {
        place.replaceChildren(el("p", { class: "note" }, sentence(figure.missing)));
        return;
      }
      const name = [plot.name, ...figure.ground].filter((part) => part !== null).join("-").replace(/[^\w.-]+/g, "_");
      await site.drawPlot(place, plot, figure, { name });
    };
    box.append(form, place);
    const height = 80 + Math.min(700, 18 * Math.max(...figures.map((figure) => figure.values?.labels?.length ?? 0)) + 200);
    place.style.minHeight = `${height}px`; // so that nothing jumps as plots appear
    site.whenSeen(box, async () => {
      await draw();
      place.style.minHeight = "";
    });
  };

  const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

  site.addPlots = () => {
    for (const plot of site.extra("plots").plots) {
      const at = plot.ground.indexOf("protocol");
      const those = (context) => plot.figures.filter((figure) => figure.ground[at] === context.protocol.protocol);
      site.section("protocol", {
        id: plot.name,
        title: plot.title,
        when: (context) => those(context).some((figure) => !figure.missing),
        render: (box, context) => show(box, plot, those(context), context),
      });
    }
    site.section("trial", {
      id: "loss",
      title: "Training loss",
      when: ({ trial }) => site.where("losses", { trial_id: trial.trial_id }).length > 0,
      render: (box, { trial }) => {
        const place = el("div", { class: "plot" });
        box.append(place);
        return site.drawPlot(place, site.extra("plots").loss, lossOf(trial), { name: `loss-${trial.trial_id}` });
      },
    });
  };

  /* The losses of a trial, and of the other seeds of its cell, as `tasks/plots/loss.py` draws them. */
  const lossOf = (trial) => {
    const points = (id) => {
      const found = site.find("losses", { trial_id: id });
      return found ? found.epochs.map((epoch, at) => ({ epoch, loss: found.losses[at] })) : [];
    };
    const seeds = site.where("trials", { cell_id: trial.cell_id });
    const others = seeds.filter((other) => other.trial_id !== trial.trial_id);
    const own = points(trial.trial_id);
    const last = own.at(-1);
    const rows = [
      ...others.flatMap((other) => points(other.trial_id).map((point) => ({ ...point, seed: other.seed, own: false }))),
      ...own.map((point) => ({
        ...point,
        seed: trial.seed,
        own: true,
        point: true,
        last: point === last,
        name: String(last.loss),
        said: `epoch ${point.epoch}: loss ${point.loss}`,
      })),
    ];
    const known = rows.map((row) => row.loss);
    const behind = others.length ? `; grey: ${site.plural(others.length, "other seed")}` : "";
    return {
      alt: `Training loss of ${trial.method}, seed ${trial.seed}, from ${own[0].loss} in epoch ${own[0].epoch} to ${last.loss} in epoch ${last.epoch}.`,
      rows: Object.fromEntries(
        ["seed", "own", "epoch", "loss", "point", "last", "name", "said"].map((name) => [name, rows.map((row) => row[name] ?? null)]),
      ),
      values: {
        title: "",
        subtitle: [`seed ${trial.seed}${behind}`],
        x_domain: [Math.min(...rows.map((row) => row.epoch)), Math.max(2, ...rows.map((row) => row.epoch))],
        zero: Math.min(...known) < Math.max(...known) / 2,
        colour: site.extra("plots").colours[trial.method] ?? "#7f858c",
      },
    };
  };
}
