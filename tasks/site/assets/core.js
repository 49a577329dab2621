"use strict";
/* The frame that all else hangs in: elements, views by route, the theme.
 *
 *   site.view("method", { title, render(root, { path, query }) })   a page at #/method/..?..
 *   site.section("protocol", { id, title, when(context), render(root, context) })   a part of a view
 *
 * A route is `#/` + words with `/` between them + `?name=value&..`. Its first word names the view; a
 * first word that names none is a track, whose protocol comes next. */
const site = { views: new Map(), sections: new Map(), about: {} };

/* An element with attributes and children. Text stays text: nothing of the board becomes markup. */
site.el = (tag, attributes = {}, ...children) => {
  const svg = ["svg", "path", "rect", "circle", "line"].includes(tag);
  const node = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
};

site.view = (name, { title, render }) => site.views.set(name, { title, render });

site.section = (view, section) => {
  if (!site.sections.has(view)) site.sections.set(view, []);
  site.sections.get(view).push(section);
};

/* The sections that others gave to a view, each in a box of its own; those that fail say so. */
site.renderSections = (view, root, context) => {
  for (const section of site.sections.get(view) ?? []) {
    if (section.when && !section.when(context)) continue;
    const box = site.el("section", { class: "card", id: `section-${section.id}` });
    box.append(site.el("h2", {}, section.title));
    root.append(box);
    site.guarded(box, () => section.render(box, context));
  }
};

/* Runs what draws a part of the page; a fault there costs this part alone, and is told. */
site.guarded = async (box, action) => {
  try {
    await action();
  } catch (error) {
    console.error(error);
    box.append(site.el("p", { class: "fault", role: "alert" }, `This part could not be drawn: ${error.message}`));
  }
};

/* Routes. */

site.route = () => {
  const [words, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const path = words.split("/").filter(Boolean).map(decodeURIComponent);
  return { path, query: new URLSearchParams(query) };
};

site.href = (path, query = {}) => {
  const words = path.map((word) => encodeURIComponent(word)).join("/");
  const kept = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const text = new URLSearchParams(kept).toString();
  return `#/${words}${text ? `?${text}` : ""}`;
};

site.link = (path, text, query = {}) => site.el("a", { href: site.href(path, query) }, text);

/* Keeps other values in the query of the address, which says what is seen. */
site.note = (changes) => {
  const { path, query } = site.route();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined) query.delete(name);
    else query.set(name, value);
  }
  try {
    history.replaceState(null, "", site.href(path, Object.fromEntries(query)));
    return true;
  } catch {
    return site.href(path, Object.fromEntries(query)); // a frame that may not change its address so
  }
};

/* The same, and draws the view again. */
site.choose = (changes) => {
  const address = site.note(changes);
  if (address === true) site.show({ keepPlace: true });
  else location.hash = address;
};

/* Draws the view of the address. */
site.show = async ({ keepPlace = false } = {}) => {
  const main = document.getElementById("main");
  const { path, query } = site.route();
  const named = site.views.get(path[0]);
  const view = named ?? site.views.get("protocol");
  const root = site.el("div", { class: "view" });
  const focused = keepPlace ? document.activeElement?.id : null;
  const place = window.scrollY;
  site.hideTip?.();
  site.markNavigation(named ? path[0] : null, path);
  const done = site.guarded(root, () => view.render(root, { path: named ? path.slice(1) : path, query }));
  main.replaceChildren(root);
  const heading = root.querySelector("h1, h2")?.textContent ?? view.title;
  document.title = heading ? `${heading} · Shotboard` : "Shotboard";
  if (keepPlace) {
    window.scrollTo(0, place);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  } else {
    window.scrollTo(0, 0);
    if (site.shown) main.focus({ preventScroll: true });
    site.say(heading);
  }
  site.shown = true;
  await done;
  site.drawn = location.hash;
};

site.say = (text) => {
  document.getElementById("said").textContent = text;
};

/* Navigation: protocols that have numbers, by track, and the other pages. */

site.pages = [];
site.page = (name, title) => site.pages.push([name, title]);

site.buildNavigation = () => {
  const { el } = site;
  const pages = document.getElementById("pages");
  pages.replaceChildren(
    ...site.pages.map(([name, title]) => el("a", { href: site.href([name]), "data-page": name }, title)),
  );
  const seen = new Set(Object.keys(site.about.choices));
  const groups = site.rows("tracks").map((track) => {
    const members = site.rows("protocols").filter((p) => p.track === track.track && seen.has(p.protocol));
    const links = members.map((p) =>
      el("a", { href: site.href([track.track, p.protocol]), "data-protocol": p.protocol }, site.words(p.protocol)),
    );
    return links.length ? el("div", { class: "track" }, el("span", {}, site.words(track.track)), links) : null;
  });
  document.getElementById("protocols").replaceChildren(...groups.filter(Boolean));
};

site.markNavigation = (page, path) => {
  const protocol = page ? null : site.protocolOf(path);
  for (const link of document.querySelectorAll("#pages a, #protocols a")) {
    const here = link.dataset.page ? link.dataset.page.startsWith(page ?? " ") : link.dataset.protocol === protocol;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
};

/* Theme: that of the system, or the one that was chosen; a frame without storage forgets it. */

site.remembered = (name, value) => {
  try {
    if (value === undefined) return localStorage.getItem(name);
    localStorage.setItem(name, value);
  } catch {
    /* a sandboxed frame has no storage */
  }
  return null;
};

site.isDark = () =>
  (document.documentElement.dataset.theme ??
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

site.setTheme = (theme) => {
  if (theme) document.documentElement.dataset.theme = theme;
  document.documentElement.classList.toggle("dark", site.isDark());
  const other = site.isDark() ? "light" : "dark";
  const button = document.getElementById("theme");
  button.hidden = false;
  button.setAttribute("aria-label", `Switch to the ${other} theme`);
  button.title = `Switch to the ${other} theme`;
  button.textContent = site.isDark() ? "☀" : "☾";
  document.dispatchEvent(new CustomEvent("theme"));
};
