"use strict";
/* The beginning: what came packed is unpacked, then the view of the address is drawn. */
(async () => {
  const main = document.getElementById("main");
  document.getElementById("theme").addEventListener("click", () => {
    const theme = site.isDark() ? "light" : "dark";
    site.remembered("shotboard-theme", theme);
    site.setTheme(theme);
  });
  site.setTheme(site.remembered("shotboard-theme"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => site.setTheme());
  // A frame made of text has the address of the page around it: there a link would lead out of it.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='#/']");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    location.hash = link.getAttribute("href");
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment is the route
    main.focus();
  });
  try {
    if (!window.DecompressionStream) throw new Error("this browser cannot unpack gzip; one from 2023 or later can");
    await Promise.all([site.unpackAll(), site.library("datatables"), site.library("datatables_style")]);
    site.addPlots();
    site.buildNavigation();
    await site.show();
    addEventListener("hashchange", () => site.show());
  } catch (error) {
    console.error(error);
    main.prepend(site.el("p", { class: "fault", role: "alert" }, `Only the first tables can be shown: ${error.message}.`));
  }
  document.documentElement.dataset.ready = "";
})();
