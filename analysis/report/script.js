"use strict";
// Sorting and filtering for every table of the page. Without it the tables stand as they are.

const FILTERED = 7; // rows from which a table is worth filtering

function valueOf(row, column) {
  const cell = row.cells[column];
  return cell.classList.contains("number") ? parseFloat(cell.dataset.value) : cell.textContent;
}

function compared(a, b) {
  return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
}

function isMissing(value) {
  return value === "" || Number.isNaN(value);
}

function sort(table, head) {
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const rows = Array.from(table.tBodies[0].rows, (row) => [row, valueOf(row, head.cellIndex)]);
  rows.sort(([, a], [, b]) => {
    if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b); // missing comes last either way
    return ascending ? compared(a, b) : compared(b, a);
  });
  table.tBodies[0].append(...rows.map(([row]) => row));
}

function labelled(text, control) {
  const label = document.createElement("label");
  label.append(text, control);
  return label;
}

function choices(table, head) {
  const select = document.createElement("select");
  const rows = Array.from(table.tBodies[0].rows);
  const values = new Set(rows.map((row) => row.cells[head.cellIndex].textContent));
  select.append(new Option("all", "*"));
  for (const value of values) select.append(new Option(value || "(empty)", `=${value}`));
  select.dataset.column = head.cellIndex;
  return select;
}

function addFilters(table) {
  const heads = Array.from(table.tHead.rows[0].cells);
  const search = document.createElement("input");
  search.type = "search";
  const selects = heads.filter((head) => "factor" in head.dataset).map((head) => [head.textContent, choices(table, head)]);
  const kept = selects.filter(([, select]) => select.length > 2); // "all" and at least two values
  const count = document.createElement("output");
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      const chosen = kept.every(([, s]) => s.value === "*" || s.value === `=${row.cells[s.dataset.column].textContent}`);
      row.hidden = !(chosen && words.every((word) => text.includes(word)));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
  };
  const controls = document.createElement("div");
  controls.className = "controls";
  controls.append(labelled("Find ", search), ...kept.map(([name, select]) => labelled(`${name} `, select)), count);
  for (const event of ["input", "change"]) controls.addEventListener(event, filter); // what drives a page may send one
  table.parentElement.before(controls);
  filter();
}

function addSorting(table) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head));
    head.append(button);
  }
}

for (const table of document.querySelectorAll("table.sortable")) {
  if (table.tBodies[0].rows.length >= FILTERED) addFilters(table);
  addSorting(table);
}

let opened = []; // by printing, which shows what is folded
addEventListener("beforeprint", () => {
  opened = Array.from(document.querySelectorAll("details:not([open])"));
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
