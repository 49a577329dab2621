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
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment is the route
    main.focus();
  });
  try {
    if (!window.DecompressionStream) throw new Error("this browser cannot unpack gzip; one from 2023 or later can");
    await Promise.all([site.unpackAll(), site.library("datatables"), site.library("datatables_style")]);
    site.buildNavigation();
    await site.show();
    addEventListener("hashchange", () => site.show());
  } catch (error) {
    console.error(error);
    main.prepend(site.el("p", { class: "fault", role: "alert" }, `Only the first tables can be shown: ${error.message}.`));
  }
  document.documentElement.dataset.ready = "";
})();
