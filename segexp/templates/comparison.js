"use strict";

// Missing values go last, whichever way a column is sorted; numbers come before words.
function compareCells(a, b, sign) {
  const [x, y] = [a.dataset.value, b.dataset.value];
  if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
  const [m, n] = [Number(x), Number(y)];
  if (x === "" || y === "" || Number.isNaN(m) || Number.isNaN(n)) {
    return sign * (Number.isNaN(m) - Number.isNaN(n) || x.localeCompare(y, "en", { numeric: true }));
  }
  return sign * (m - n);
}

function sortBy(table, index) {
  const heads = [...table.tHead.rows[0].cells];
  const head = heads[index];
  const opposite = { ascending: "descending", descending: "ascending" };
  const direction = opposite[head.ariaSort] || head.dataset.first || "ascending";
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compareCells(a.cells[index], b.cells[index], sign));
  table.tBodies[0].append(...rows);
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads[Number(table.dataset.sorted)]?.setAttribute("aria-sort", "ascending");
  for (const [index, head] of heads.entries()) {
    head.querySelector("button")?.addEventListener("click", () => sortBy(table, index));
  }
}

function showColumn(table, index, shown) {
  for (const row of table.rows) row.cells[index].hidden = !shown;
}

function makeColumns(section) {
  const table = section.querySelector("table.results");
  for (const box of section.querySelectorAll(".columns input")) {
    const index = Number(box.value);
    // A browser may remember what was ticked when the page is loaded again.
    box.checked = !("off" in table.tHead.rows[0].cells[index].dataset);
    if (!box.checked) showColumn(table, index, false);
    box.addEventListener("change", () => showColumn(table, index, box.checked));
  }
}

function makeFilter(section) {
  const input = section.querySelector(".filter");
  const count = section.querySelector(".count");
  const rows = [...section.querySelectorAll("table.results tbody tr")];
  const parts = new Map(rows.map((row) => [row.dataset.row, []]));
  for (const part of section.querySelectorAll("[data-row]")) parts.get(part.dataset.row).push(part);
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = words.every((word) => row.dataset.words.includes(word));
      shown += fits;
      for (const part of parts.get(row.dataset.row)) part.toggleAttribute("hidden", !fits);
    }
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  };
  input.addEventListener("input", apply);
  apply();
}

function makeConfigs(section) {
  const part = section.querySelector(".configs");
  if (!part) return;
  const { runs, keys } = JSON.parse(part.querySelector("script").textContent);
  const [first, second] = part.querySelectorAll("select");
  for (const select of [first, second]) {
    select.append(...runs.map((name, i) => new Option(name, i)));
  }
  const cell = (kind, text) => {
    const made = document.createElement(kind);
    made.append(Object.assign(document.createElement("bdi"), { textContent: text }));
    return made;
  };
  const show = () => {
    const [a, b] = [Number(first.value), Number(second.value)];
    part.querySelector(".first-name").textContent = runs[a];
    part.querySelector(".second-name").textContent = runs[b];
    const rows = [];
    for (const [key, values, places] of keys) {
      if (places[a] === places[b]) continue;
      const row = document.createElement("tr");
      const head = cell("th", key);
      head.scope = "row";
      row.append(head, cell("td", values[places[a]] ?? "–"), cell("td", values[places[b]] ?? "–"));
      rows.push(row);
    }
    if (!rows.length) {
      const row = document.createElement("tr");
      row.append(Object.assign(cell("td", "Nothing differs."), { colSpan: 3 }));
      rows.push(row);
    }
    part.querySelector("tbody").replaceChildren(...rows);
  };
  first.value = "0";
  second.value = String(Math.min(1, runs.length - 1));
  first.addEventListener("change", show);
  second.addEventListener("change", show);
  show();
  part.hidden = false;
}

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
for (const section of document.querySelectorAll("section.comparison")) {
  makeColumns(section);
  makeFilter(section);
  makeConfigs(section);
  section.querySelector(".controls").hidden = false;
}
