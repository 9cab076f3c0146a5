"use strict";
// Sorting, filtering, and a place in the page, all kept in the address: #anchor&groups.sort=-mae&groups.filter=asian
const Page = (() => {
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
    const told = parts.length ? `${shown} of ${table.tBodies[0].rows.length} rows shown` : "";
    say.textContent = told;
    const counted = table.closest(".table").querySelector(".row-count");
    counted.dataset.all ??= counted.textContent;
    counted.textContent = told || counted.dataset.all;
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

  // Of many controls side by side one is a stop of the Tab key; arrows lead on to the others.
  function rove(group, selector) {
    const all = () => [...group.querySelectorAll(selector)].filter((one) => one.offsetParent);
    const enter = (one) => {
      group.querySelectorAll(selector).forEach((other) => { other.tabIndex = other === one ? 0 : -1; });
    };
    enter(group.querySelector(selector));
    group.addEventListener("focusin", (event) => {
      const one = event.target.closest(selector);
      if (one) enter(one);
    });
    group.addEventListener("keydown", (event) => {
      const places = all();
      const now = places.indexOf(event.target.closest(selector));
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -now, End: places.length - 1 - now };
      if (now < 0 || !(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      places[(now + steps[event.key] + places.length) % places.length].focus();
    });
  }

  function fewerStops() {
    for (const [holder, selector] of [["thead", "button"], ["tbody", "a"], [".links", "a"], ["ul.chance", "a"]]) {
      document.querySelectorAll(holder).forEach((group) => {
        if (group.querySelectorAll(selector).length > 1) rove(group, selector);
      });
    }
    // What does not scroll needs no stop; what is folded is measured when it opens.
    const regions = [...document.querySelectorAll(".scroll[tabindex]")];
    const watch = new ResizeObserver((seen) => new Set(seen.map((one) => one.target.closest(".scroll"))).forEach((target) => {
      const scrolls = target.scrollWidth > target.clientWidth + 1 || target.scrollHeight > target.clientHeight + 1;
      if (scrolls) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
      const cue = target.matches(".tall") && target.closest(".table").querySelector(".scrolls");
      if (cue) cue.hidden = cue.nextElementSibling.hidden = !target.matches(".whole") && target.scrollHeight <= target.clientHeight + 1;
    }));
    regions.forEach((region) => { watch.observe(region); watch.observe(region.firstElementChild); });
    document.querySelector("footer .wrap")?.append(Object.assign(document.createElement("p"), {
      textContent: "By keyboard: Tab goes from table to table, and within the headings, names or links of one the arrow keys lead on.",
    }));
  }

  function addWhole(region) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "plain-button" });
    const told = region.closest(".table").querySelector(".scrolls");
    const write = () => {
      const isWhole = region.classList.contains("whole");
      button.textContent = isWhole ? "Let it scroll" : "Show it whole";
      told.textContent = isWhole ? " " : "; the table scrolls. ";
    };
    button.addEventListener("click", () => { region.classList.toggle("whole"); write(); });
    write();
    told.after(button);
  }

  function markPlace() {
    const links = [...document.querySelectorAll("nav.sections a")];
    const parts = links.map((link) => document.getElementById(link.hash.slice(1)));
    if (!links.length) return;
    let now = null;
    const update = () => {
      let place = 0;
      parts.forEach((part, index) => { if (part && part.getBoundingClientRect().top < innerHeight / 3) place = index; });
      if (scrollY + innerHeight >= document.documentElement.scrollHeight - 2) place = parts.length - 1;
      if (links[place] === now) return;
      now?.removeAttribute("aria-current");
      now = links[place];
      now.setAttribute("aria-current", "location");
      const bar = now.parentElement;
      if (bar.scrollWidth > bar.clientWidth) bar.scrollLeft = now.offsetLeft - bar.clientWidth / 3;
    };
    let asked = false;
    addEventListener("scroll", () => {
      if (!asked) requestAnimationFrame(() => { asked = false; update(); });
      asked = true;
    }, { passive: true });
    update();
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
    const fold = target.querySelector(":scope > details.fold");
    if (fold) fold.open = true;
    target.scrollIntoView();
  }

  document.addEventListener("rows-changed", apply); // a table was filled anew
  window.addEventListener("hashchange", () => {
    const now = readState();
    if (now.values.size) state = now;
    else state.anchor = now.anchor; // a link inside the page keeps how its tables are sorted
    apply();
    writeState();
    goTo(state.anchor);
  });
  tables.forEach(addButtons);
  tables.filter((table) => table.dataset.filterable !== undefined).forEach(addFilter);
  document.querySelectorAll(".scroll.tall").forEach(addWhole);
  fewerStops();
  markPlace();
  apply();
  goTo(state.anchor);
  // Other parts of the page keep what they are set to in the address as well.
  const kept = (key) => state.values.get(key) ?? "";
  const keep = (key, value) => { state.values.set(key, value); writeState(); };
  return { rove, kept, keep };
})();
