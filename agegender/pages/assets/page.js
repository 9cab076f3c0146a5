"use strict";
// Sorting, filtering, and a place in the page, all kept in the address: #anchor&groups.sort=-mae&groups.filter=asian
(() => {
  const tables = [...document.querySelectorAll("table[data-sortable]")];
  const say = document.getElementById("status");

  function readState() {
    const [first, ...rest] = decodeURIComponent(location.hash.slice(1)).split("&");
    const parts = first.includes("=") ? [first, ...rest] : rest;
    const pairs = parts.filter((part) => part.includes("=")).map((part) => {
      const cut = part.indexOf("=");
      return [part.slice(0, cut), part.slice(cut + 1)];
    });
    return { anchor: first.includes("=") ? "" : first, values: new Map(pairs) };
  }

  let state = readState();

  function writeState() {
    const kept = [...state.values].filter(([, value]) => value).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
    const hash = [state.anchor, ...kept].join("&");
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  function cellKey(row, place) {
    return row.cells[place].dataset.sort ?? row.cells[place].textContent.trim();
  }

  function compare(a, b, isNumber) {
    if (a === "" || b === "") return (a === "") - (b === ""); // missing values stay last
    return isNumber ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
  }

  function sortTable(table, key, isDescending) {
    const headers = [...table.tHead.rows[0].cells];
    const place = headers.findIndex((header) => header.dataset.key === key);
    if (place < 0) return;
    const isNumber = headers[place].classList.contains("n");
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => {
      const few = a.classList.contains("few") - b.classList.contains("few"); // small groups are never ranked
      const [x, y] = [cellKey(a, place), cellKey(b, place)];
      return few || (isDescending && x !== "" && y !== "" ? -1 : 1) * compare(x, y, isNumber);
    });
    body.append(...rows);
    headers.forEach((header, index) => {
      if (index === place) header.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
      else header.removeAttribute("aria-sort");
    });
  }

  function filterTable(table, words) {
    const parts = words.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !parts.every((part) => text.includes(part));
      shown += !row.hidden;
    }
    say.textContent = parts.length ? `${shown} of ${table.tBodies[0].rows.length} rows shown` : "";
  }

  function addButtons(table) {
    for (const header of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const isDescending = header.getAttribute("aria-sort") === "ascending"
          || (!header.hasAttribute("aria-sort") && header.classList.contains("n"));
        state.values.set(`${table.id}.sort`, (isDescending && header.getAttribute("aria-sort") !== "descending" ? "-" : "") + header.dataset.key);
        apply();
        writeState();
        say.textContent = `sorted by ${button.textContent.trim()}, ${isDescending ? "highest" : "lowest"} first`;
      });
    }
  }

  function addFilter(table) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "search", placeholder: "Filter rows" });
    input.dataset.filters = table.id;
    label.append(Object.assign(document.createElement("span"), { className: "visually-hidden", textContent: "Filter rows of this table" }), input);
    table.closest(".table").querySelector(".tools").append(label);
    input.addEventListener("input", () => {
      state.values.set(`${table.id}.filter`, input.value.trim());
      filterTable(table, input.value);
      writeState();
    });
  }

  function apply() {
    for (const table of tables) {
      const order = state.values.get(`${table.id}.sort`);
      if (order) sortTable(table, order.replace(/^-/, ""), order.startsWith("-"));
      const input = document.querySelector(`input[data-filters="${CSS.escape(table.id)}"]`);
      if (!input) continue;
      if (document.activeElement !== input) input.value = state.values.get(`${table.id}.filter`) ?? "";
      filterTable(table, input.value);
    }
  }

  function goTo(anchor) {
    const target = anchor && document.getElementById(anchor);
    if (!target) return;
    for (let place = target; place; place = place.parentElement) if (place.tagName === "DETAILS") place.open = true;
    target.scrollIntoView();
  }

  window.addEventListener("hashchange", () => {
    const now = readState();
    if (now.values.size) state = now;
    else state.anchor = now.anchor; // a link inside the page keeps how its tables are sorted
    apply();
    writeState();
    goTo(state.anchor);
  });
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
  tables.forEach(addButtons);
  tables.filter((table) => table.dataset.filterable !== undefined).forEach(addFilter);
  apply();
  goTo(state.anchor);
})();
