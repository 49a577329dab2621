"use strict";
/* Plots: a Vega-Lite specification by id, drawn with rows.
 *
 *   site.chart("curves", { alt(rows), spec(rows, context) })   spec: a specification without data
 *   site.draw(parent, "curves", rows, { context, name })       draws it, with buttons SVG and PNG
 *
 * Vega is unpacked when the first plot is drawn. Colours of text and lines are those of the theme, and
 * plots are drawn again as it changes. */
{
  const { el } = site;
  const charts = new Map();

  site.chart = (id, chart) => charts.set(id, chart);
  site.hasChart = (id) => charts.has(id);

  const themed = () => {
    const style = getComputedStyle(document.documentElement);
    const probe = el("i", { hidden: true });
    document.body.append(probe);
    const colour = (name) => {
      probe.style.color = style.getPropertyValue(name); // light-dark() resolves in use
      return getComputedStyle(probe).color;
    };
    const [text, muted, line] = [colour("--text"), colour("--muted"), colour("--line")];
    probe.remove();
    const font = getComputedStyle(document.body).fontFamily;
    const labels = { labelColor: muted, titleColor: text, labelFont: font, titleFont: font };
    return {
      background: null,
      font,
      view: { stroke: null },
      axis: { ...labels, gridColor: line, domainColor: line, tickColor: line },
      legend: { ...labels },
      header: { ...labels },
      title: { color: text, font, subtitleColor: muted },
      text: { color: text, font },
    };
  };

  const merged = (base, over) => {
    const whole = { ...base };
    for (const [key, value] of Object.entries(over ?? {})) {
      const nested = value && typeof value === "object" && !Array.isArray(value);
      whole[key] = nested ? merged(base[key] ?? {}, value) : value;
    }
    return whole;
  };

  site.draw = async (parent, id, rows, { context = {}, name = id } = {}) => {
    const chart = charts.get(id);
    if (!chart) throw new Error(`no plot is called "${id}".`);
    await site.library("vega");
    const alt = chart.alt?.(rows, context) ?? name; // Vega makes it the label of the drawing
    const canvas = el("div", { class: "canvas" });
    const tools = el("div", { class: "exports", role: "group", "aria-label": `Export ${name}` });
    const figure = el("figure", { class: "chart" }, tools, canvas, el("figcaption", {}, alt));
    parent.append(figure);
    let view = null;
    const draw = async () => {
      const spec = chart.spec(rows, context);
      const result = await window.vegaEmbed(
        canvas,
        { ...spec, description: alt, data: spec.data ?? { values: rows }, config: merged(themed(), spec.config) },
        { actions: false, renderer: "svg", tooltip: true },
      );
      view?.finalize();
      view = result.view;
    };
    const again = () => (canvas.isConnected ? draw() : document.removeEventListener("theme", again));
    document.addEventListener("theme", again);
    const save = async (ending) => {
      const text = ending === "svg" ? await view.toSVG(2) : null;
      const blob = text
        ? new Blob([text], { type: "image/svg+xml" })
        : await new Promise(async (resolve) => (await view.toCanvas(2)).toBlob(resolve));
      site.save(`${name}.${ending}`, blob);
    };
    for (const ending of ["svg", "png"]) {
      tools.append(el("button", { type: "button", class: "quiet", onclick: () => save(ending) }, ending.toUpperCase()));
    }
    await draw();
    return figure;
  };
}
