"use strict";
/* How numbers and names are shown. Scores are 0..1 in the tables; only here do they become per cent. */
{
  const { el } = site;

  /* `few_shot`, `image-classification` as words. */
  site.sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  site.words = (name) => site.sentence(name.replaceAll("_", " ").replaceAll("-", " "));

  site.metric = (name) => site.find("metrics", { metric: name }) ?? { metric: name, better: "higher", unit: "" };

  // The harmonic mean of published base and new is of shares, as they are.
  const isShare = (metric) => metric === "harmonic_mean" || site.metric(metric).unit === "share";
  const scale = (metric) => (isShare(metric) ? [100, 1] : [1, 3]);

  site.unit = (metric) => {
    const { unit } = site.metric(metric);
    return unit === "share" ? "%" : unit;
  };

  site.number = (value, metric, { signed = false } = {}) => {
    if (value === null || value === undefined) return "";
    const [times, digits] = scale(metric);
    const text = (value * times).toFixed(digits);
    return (signed && value > 0 ? `+${text}` : text).replace("-", "−");
  };

  site.interval = (low, high, metric, options) =>
    low === null || high === null || low === undefined
      ? ""
      : `[${site.number(low, metric, options)}, ${site.number(high, metric, options)}]`;

  /* `71.3 ± 1.2`, which never wraps. */
  site.score = (row) =>
    el(
      "span",
      { class: "score" },
      site.number(row.mean, row.metric),
      row.std === null ? null : el("small", {}, ` ± ${site.number(row.std, row.metric)}`),
    );

  site.scoreText = (row) =>
    row.mean === null
      ? ""
      : site.number(row.mean, row.metric) + (row.std === null ? "" : ` ± ${site.number(row.std, row.metric)}`);

  site.p = (p) => (p === null || p === undefined ? "" : p < 0.001 ? "< 0.001" : p.toFixed(3));

  /* 8192 as `8.2 k`. */
  site.count = (value) => {
    if (value === null || value === undefined) return "";
    const steps = [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]];
    const [size, letter] = steps.find(([size]) => Math.abs(value) >= size) ?? [1, ""];
    return size === 1 ? String(value) : `${(value / size).toPrecision(3)}${letter}`;
  };

  site.seconds = (value) =>
    value === null || value === undefined
      ? ""
      : value >= 90
        ? `${(value / 60).toFixed(1)} min`
        : `${value.toPrecision(2)} s`;

  /* Shots: -1 is all of the train split, which is more than any number. */
  site.shotsWord = (count) => (count === -1 ? "all" : String(count));
  site.shots = (count) => `${site.shotsWord(count)} ${count === 1 ? "shot" : "shots"}`;
  site.shotsOrder = (count) => (count === -1 ? Infinity : count);

  /* The column of a table that shows what rows have under a name, as it is. */
  site.columnOf = (key) =>
    key === "shots"
      ? { title: "Shots", value: (row) => site.shotsOrder(row.shots), text: (row) => site.shotsWord(row.shots) }
      : { title: site.words(key), value: (row) => row[key] };

  const SPLITS = ["all", "base", "new", "H", "closed", "open"];
  const place = (split) => (split === "AVERAGE" ? 9 : SPLITS.includes(split) ? SPLITS.indexOf(split) : 8);
  site.bySplit = (a, b) => place(a) - place(b) || a.localeCompare(b);

  const SPLIT_WORDS = {
    all: "all classes",
    base: "base classes",
    new: "new classes",
    H: "H, harmonic mean of base and new",
    closed: "closed world",
    open: "open world",
    AVERAGE: "average of the targets",
  };
  site.splitWords = (split) => SPLIT_WORDS[split] ?? split;

  /* Text in which addresses are links. */
  site.linked = (text) =>
    String(text ?? "")
      .split(/(https?:\/\/[^\s,;]+)/)
      .map((part, index) => (index % 2 ? el("a", { href: part, rel: "noreferrer", target: "_blank" }, part) : part));

  /* An id of another program: a link where its pages are served, else the id alone. */
  site.outside = (root, place, id) => {
    if (!id) return null;
    return root ? el("a", { href: `${root}${place}${id}` }, id) : el("code", {}, id);
  };

  /* How a run or a trial ended, with the reason where it did not end well. */
  site.statusText = (row) => [row.status, row.error].filter(Boolean).join(": ");
  site.statusShown = (row) =>
    el("span", { class: `status ${row.status}` }, row.status, row.error ? el("small", {}, ` ${row.error}`) : null);

  site.plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

  /* A sentence that shows beside an element while it is pointed at or focused, and on request leaves. */
  const tip = document.getElementById("tip");
  site.hideTip = () => {
    tip.hidden = true;
  };
  site.withTip = (node, content) => {
    const show = () => {
      tip.replaceChildren(...[content()].flat());
      tip.hidden = false;
      const spot = node.getBoundingClientRect();
      const width = Math.min(tip.offsetWidth, innerWidth - 16);
      tip.style.left = `${Math.max(8, Math.min(spot.left + spot.width / 2 - width / 2, innerWidth - width - 8))}px`;
      const above = spot.top > tip.offsetHeight + 12;
      tip.style.top = `${above ? spot.top - tip.offsetHeight - 6 : spot.bottom + 6}px`;
    };
    node.setAttribute("aria-describedby", "tip");
    node.addEventListener("mouseenter", show);
    node.addEventListener("focus", show);
    node.addEventListener("mouseleave", site.hideTip);
    node.addEventListener("blur", site.hideTip);
    return node;
  };
  addEventListener("keydown", (event) => event.key === "Escape" && site.hideTip());
  addEventListener("scroll", site.hideTip, true);
}
