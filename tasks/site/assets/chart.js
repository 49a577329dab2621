"use strict";
/* A plot: what `tasks/plots` made of the board, put into its Vega-Lite template and drawn.
 *
 *   site.drawPlot(parent, plot, figure, { name })   a figure with its caption and its exports
 *
 * A figure has `values`, which go into the holes of the template (`{"$": "name"}`), `rows`, which are its
 * named data set, and `alt`, the picture in words. Vega is unpacked when the first plot comes into sight;
 * a plot follows the theme and the width of its place. */
{
  const { el } = site;
  const NARROW = 560; // pixels, below which a legend stands under its plot

  const fill = (template, values) => {
    if (Array.isArray(template)) return template.map((each) => fill(each, values));
    if (template === null || typeof template !== "object") return template;
    const keys = Object.keys(template);
    if (keys.length === 1 && keys[0] === "$") return values[template.$];
    return Object.fromEntries(keys.map((key) => [key, fill(template[key], values)]));
  };

  /* Rows as objects: the board gives them column by column. */
  const rowsOf = (columns) => {
    const names = Object.keys(columns);
    const count = names.length ? columns[names[0]].length : 0;
    return Array.from({ length: count }, (_, at) => Object.fromEntries(names.map((name) => [name, columns[name][at]])));
  };

  const specOf = (plot, figure) => ({
    ...fill(plot.template, figure.values),
    description: figure.alt,
    data: { name: "rows" },
    datasets: { rows: rowsOf(figure.rows) },
    config: structuredClone(site.extra("plots").config[site.isDark() ? "dark" : "light"]),
  });

  /* The specification for a place of the page, so many pixels wide, whose heading the page has. */
  const inPlace = (plot, figure, width) => {
    const { title, ...spec } = specOf(plot, figure);
    const narrow = width < NARROW;
    Object.assign(spec.config, { font: getComputedStyle(document.body).fontFamily, padding: 4 });
    if (narrow) {
      Object.assign(spec.config.legend, { orient: "bottom", columns: 1 });
      spec.config.axis.labelLimit = width / 3;
      for (const parameter of spec.params ?? []) if (parameter.name === "narrow") parameter.value = true;
    }
    if (spec.usermeta?.fixed_width) return spec;
    return { ...spec, width, autosize: { type: "fit-x", contains: "padding" } };
  };

  /* A picture for a paper: with its heading, as wide as `shotboard board --plot` makes it. */
  const picture = async (plot, figure, of) => {
    const spec = specOf(plot, figure);
    spec.config.background = site.extra("plots").background[site.isDark() ? "dark" : "light"];
    const { view } = await window.vegaEmbed(el("div"), spec, { actions: false, renderer: "svg", tooltip: false });
    try {
      return await of(view);
    } finally {
      view.finalize();
    }
  };

  const csvOf = (columns) => {
    const quoted = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const names = Object.keys(columns);
    const lines = rowsOf(columns).map((row) => names.map((name) => quoted(row[name])).join(","));
    return `${[names.join(","), ...lines].join("\n")}\n`;
  };

  site.drawPlot = async (parent, plot, figure, { name = plot.name } = {}) => {
    const canvas = el("div", { class: "canvas" });
    const tools = el("div", { class: "exports", role: "group", "aria-label": `Export ${plot.title}` });
    const heading = el("p", { class: "note" }, figure.values.subtitle.join(" · "));
    const node = el("figure", { class: "chart", "data-plot": plot.name }, tools, heading, canvas, el("figcaption", {}, figure.alt));
    parent.replaceChildren(node);
    let view = null;
    let drawn = 0;
    const draw = async () => {
      drawn = canvas.clientWidth;
      const spec = inPlace(plot, figure, Math.max(280, Math.floor(drawn)));
      const result = await window.vegaEmbed(canvas, spec, {
        actions: false,
        renderer: "svg",
        tooltip: { theme: site.isDark() ? "dark" : "light" },
      });
      view?.finalize();
      view = result.view;
    };
    const made = {
      svg: ["image/svg+xml", () => picture(plot, figure, (view) => view.toSVG())],
      png: [
        "image/png",
        () =>
          picture(plot, figure, async (view) => {
            const pixels = await view.toCanvas(2);
            return new Promise((resolve) => pixels.toBlob(resolve));
          }),
      ],
      csv: ["text/csv", async () => csvOf(figure.rows)],
    };
    for (const [ending, [type, make]] of Object.entries(made)) {
      const file = `${name}.${ending}`;
      const save = async () => {
        const content = await make();
        // A frame may not be allowed to download: there the text can be copied.
        if (window.self !== window.top && typeof content === "string") site.offer(plot.title, file, type, content);
        else site.save(file, new Blob([content], { type }));
      };
      const click = () => site.guarded(node, save);
      tools.append(el("button", { type: "button", class: "quiet", onclick: click }, ending.toUpperCase()));
    }
    await site.library("vega");
    await draw();
    const again = () => (canvas.isConnected ? draw() : document.removeEventListener("theme", again));
    document.addEventListener("theme", again);
    let waiting = 0;
    new ResizeObserver((_, observer) => {
      if (!canvas.isConnected) return observer.disconnect();
      if (Math.abs(canvas.clientWidth - drawn) < 8) return;
      clearTimeout(waiting);
      waiting = setTimeout(draw, 150);
    }).observe(canvas);
    return node;
  };

  /* Runs `action` once, when `box` is about to come into sight. */
  site.whenSeen = (box, action) => {
    const observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        site.guarded(box, action);
      },
      { rootMargin: "300px" },
    );
    observer.observe(box);
  };
}
