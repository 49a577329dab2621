"use strict";
/* Tables of the board, unpacked (see tasks/site/payload.py for the form).
 *
 *   site.rows("methods")                        every row as an object, made once
 *   site.where("trials", { cell_id: "ab.." })   rows with these values; looks at codes alone
 *   site.find("methods", { method: "coop" })    the first of them, or undefined
 *
 * Rows are shared: copy one before you change it. */
{
  const { el } = site;
  const packed = new Map();
  const made = new Map();
  const extras = new Map();

  site.bytesOf = (base64) => {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  };

  site.inflated = async (id) => {
    const bytes = site.bytesOf(document.getElementById(id).textContent);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  };

  const unpack = (buffer) => {
    const length = new DataView(buffer).getUint32(0, true);
    const { rows, columns } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    let place = 4 + length;
    for (const column of columns) {
      column.codes = column.width === 1 ? new Uint8Array(buffer, place, rows) : new Uint32Array(rows);
      if (column.width > 1) {
        for (let plane = 0; plane < column.width; plane++) {
          const bytes = new Uint8Array(buffer, place + plane * rows, rows);
          for (let row = 0; row < rows; row++) column.codes[row] += bytes[row] * 256 ** plane;
        }
      }
      place += column.width * rows;
    }
    return { rows, columns, byName: new Map(columns.map((column) => [column.name, column])) };
  };

  site.unpackAll = async () => {
    const prefix = "table-";
    const elements = [...document.querySelectorAll(`script[id^="${prefix}"]`)];
    await Promise.all(
      elements.map(async ({ id }) => packed.set(id.slice(prefix.length), unpack(await site.inflated(id)))),
    );
    const ids = packed.get("ids").byName; // once for all tables
    for (const { columns } of packed.values()) {
      for (const column of columns) column.values ??= ids.get(column.of).values;
    }
    for (const { id } of document.querySelectorAll('script[id^="extra-"]')) {
      const buffer = await site.inflated(id);
      let value; // read when it is first asked for
      extras.set(id.slice(6), () => (value ??= JSON.parse(new TextDecoder().decode(buffer))));
    }
    site.about = JSON.parse(document.getElementById("about").textContent);
  };

  const tableOf = (name) => {
    if (!packed.has(name)) throw new Error(`the page has no table "${name}".`);
    return packed.get(name);
  };

  const rowAt = (table, place) => {
    const row = {};
    for (const column of table.columns) row[column.name] = column.values[column.codes[place]];
    return row;
  };

  site.rows = (name) => {
    if (!made.has(name)) {
      const table = tableOf(name);
      made.set(name, Array.from({ length: table.rows }, (_, place) => rowAt(table, place)));
    }
    return made.get(name);
  };

  site.where = (name, values) => {
    const table = tableOf(name);
    const asked = Object.entries(values).map(([key, value]) => {
      const column = table.byName.get(key);
      if (!column) throw new Error(`the table "${name}" has no column "${key}".`);
      return [column.codes, column.values.indexOf(value)];
    });
    const found = [];
    if (asked.some(([, code]) => code < 0)) return found;
    for (let place = 0; place < table.rows; place++) {
      if (asked.every(([codes, code]) => codes[place] === code)) {
        found.push(made.has(name) ? made.get(name)[place] : rowAt(table, place));
      }
    }
    return found;
  };

  site.find = (name, values) => site.where(name, values)[0];

  /* What is no table: see tasks/site/extras.py. */
  site.extra = (name) => extras.get(name)?.();

  /* The distinct values of a column, in order. */
  site.valuesOf = (name, column) => tableOf(name).byName.get(column).values;

  const loaded = new Map();
  /* A script that came packed; the promise is the same each time. */
  site.library = (name) => {
    if (!loaded.has(name)) {
      loaded.set(
        name,
        site.inflated(`library-${name}`).then((buffer) => {
          const text = new TextDecoder().decode(buffer);
          if (name.endsWith("_style")) document.head.prepend(el("style", {}, text));
          else document.head.append(el("script", {}, text));
        }),
      );
    }
    return loaded.get(name);
  };
}
