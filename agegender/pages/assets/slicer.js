// Cuts of the photos by up to three columns: figures, the error along the labels, and the faces, all from the rows that
// the page holds. What is a random draw is drawn as the audit drew it, so that a figure reads as in the page's tables.
const Rows = (() => {
  const holder = document.querySelector("[data-rows]");
  if (!holder) return null;
  const given = JSON.parse(holder.dataset.rows);

  function unpacked(text, Kind) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Kind(bytes.buffer);
  }

  const columns = given.columns.map((one) => ({ ...one, codes: unpacked(one.codes, Uint8Array) }));
  const heads = given.heads.map((head) => {
    if (head.kind === "regression") {
      const [label, predicted] = [head.label, head.predicted].map((text) => Float64Array.from(unpacked(text, Float32Array)));
      const error = predicted.map((one, row) => one - label[row]);
      return { ...head, label, predicted, error, size: error.map(Math.abs) };
    }
    const [label, predicted] = [unpacked(head.label, Int16Array), unpacked(head.predicted, Int16Array)];
    const right = Float64Array.from(label, (one, row) => (one < 0 || predicted[row] < 0 ? NaN : Number(one === predicted[row])));
    return { ...head, label, predicted, right, sure: unpacked(head.sure, Uint8Array) };
  });
  function labelled(head, row) {
    if (head.kind === "classification") return head.classes[head.label[row]] ?? "";
    return Number.isNaN(head.label[row]) ? "" : `${number(head.label[row], isDecade(head) ? 0 : head.digits)} ${head.unit}`.trim();
  }

  // The rows that a cloud of points shows.
  function pointed(drawing) {
    const head = heads.find((one) => one.name === drawing.dataset.cloud);
    const [key, value] = drawing.dataset.only ? JSON.parse(drawing.dataset.only) : [null, null];
    const column = columns.find((one) => one.key === key), code = column?.values.indexOf(value);
    return Array.from({ length: given.rows }, (_, row) => row).filter((row) => !Number.isNaN(head.error[row]) && (key === null || (column && column.codes[row] === code)));
  }

  const pictures = new Map();
  document.querySelectorAll("img[data-place]").forEach((image) => { if (!pictures.has(image.dataset.place)) pictures.set(image.dataset.place, image); });
  const photos = given.photos.map(([row, place, path, code, labels, explained]) => ({ row, place, path, code, labels, explained, image: pictures.get(String(place)) }));

  // As agegender/audit/words.py writes numbers.
  function number(value, digits, { signed = false, percent = false } = {}) {
    if (!Number.isFinite(value)) return "–";
    const size = Math.abs(value * (percent ? 100 : 1)), scaled = size * 10 ** digits;
    const isTie = scaled % 1 === 0.5 && (size * 2 ** (digits + 1)) % 1 === 0;
    const fixed = isTie ? (2 * Math.round(scaled / 2) / 10 ** digits).toFixed(digits) : size.toFixed(digits);
    const [whole, part] = fixed.split(".");
    const text = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? `.${part}` : "");
    const sign = /[1-9]/.test(text) ? (value < 0 ? "−" : signed ? "+" : "") : "";
    return `${sign}${text}${percent ? " %" : ""}`;
  }

  const isDecade = (head) => head.kind === "regression" && head.decades;
  function answer(head, row) {
    if (head.kind === "classification") return head.classes[head.predicted[row]] ?? "unknown";
    return `${number(head.predicted[row], isDecade(head) ? 0 : head.digits)} ${head.unit}`.trim();
  }

  function headline(head, row) {
    if (head.kind === "classification") return `${Number.isNaN(head.right[row]) ? "not judged" : head.right[row] ? "right" : "missed"}, ${head.sure[row] === 255 ? "" : `${head.sure[row]} % sure`}`;
    const error = head.error[row];
    return `${number(error, isDecade(head) || Math.abs(error) >= 10 ? 0 : head.digits, { signed: true })} ${head.unit}`.trim();
  }

  return { holder, count: given.rows, seed: given.seed, clusters: given.clusters && unpacked(given.clusters, Uint16Array), columns, heads, photos, number, answer, labelled, headline, pointed };
})();

(() => {
  if (!Rows) return;
  const MOST_GROUPS = 120, SMALL = 30, FACES = 24;
  const { holder, columns, heads, number } = Rows;
  const find = (name) => holder.querySelector(name);
  const choices = [...holder.querySelectorAll(".cut-column")], values = [...holder.querySelectorAll(".cut-value")];
  const firstNumber = heads.find((head) => head.kind === "regression");
  let shownGroups = [], faceLimit = FACES, turn = 0;

  const safe = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  function chosen() {
    const found = new Map();
    choices.forEach((choice, place) => {
      const column = columns.find((one) => one.key === choice.value);
      if (column && !found.has(column)) found.set(column, values[place].value === "" ? null : Number(values[place].value));
    });
    return [...found].sort((a, b) => columns.indexOf(a[0]) - columns.indexOf(b[0])); // as the audit orders them
  }

  // The group of every row, numbered as agegender/audit/grouping.py does; -1 where a value is missing.
  function grouped(cut) {
    const sizes = cut.map(([column]) => column.values.length);
    const cells = new Int32Array(Rows.count), counts = new Map();
    for (let row = 0; row < Rows.count; row += 1) {
      let cell = 0;
      for (let place = 0; place < cut.length && cell >= 0; place += 1) {
        const code = cut[place][0].codes[row];
        cell = code === 255 ? -1 : cell * sizes[place] + code;
      }
      cells[row] = cell;
      if (cell >= 0) counts.set(cell, (counts.get(cell) ?? 0) + 1);
    }
    const kept = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, MOST_GROUPS).map(([cell]) => cell).sort((a, b) => a - b);
    const numbers = new Map(kept.map((cell, place) => [cell, place]));
    const codes = cells.map((cell) => (cell < 0 ? -1 : numbers.get(cell) ?? kept.length));
    const groups = kept.map((cell) => {
      let rest = cell;
      return sizes.map((_, place) => {
        const below = sizes.slice(place + 1).reduce((all, size) => all * size, 1);
        const code = Math.floor(rest / below);
        rest -= code * below;
        return code;
      });
    });
    return { codes, groups, count: kept.length, left: counts.size - kept.length };
  }

  // Mean error sizes, mean errors and accuracies of every group: one list of estimates per heading of the table.
  function measured(codes, count) {
    return heads.flatMap((head) => {
      const value = head.kind === "regression" ? head.error : head.right;
      const known = codes.map((code, row) => (Number.isNaN(value[row]) ? -1 : code));
      if (head.kind === "classification") return [Estimates.rates(value, known, count, Rows.clusters)];
      return Estimates.means([head.size, value], known, count, Rows.clusters, Rows.seed);
    });
  }

  const forms = heads.flatMap((head) => (head.kind === "regression" ? [{ digits: head.digits }, { digits: head.digits, signed: true }] : [{ digits: 1, percent: true }]));

  function ends({ low, high }, form) {
    if (!Number.isFinite(low) || !Number.isFinite(high)) return "";
    return `(${number(low, form.digits, form).replace(/ %$/, "")} to ${number(high, form.digits, form)})`;
  }

  function cells(estimates) {
    return estimates.map((one, place) => {
      const form = forms[place], cell = element("td", { className: "n" }, number(one.mean, form.digits, form));
      cell.dataset.sort = Number.isFinite(one.mean) ? one.mean : "";
      const interval = ends(one, form);
      if (interval) cell.append(element("span", { className: "ends", textContent: interval }));
      return cell;
    });
  }

  function rowOf(name, count, estimates) {
    const row = element("tr", { className: count < SMALL ? "few" : "" });
    const counted = element("td", { className: "n", textContent: number(count, 0) });
    counted.dataset.sort = count;
    const head = element("th", { scope: "row", textContent: name });
    head.dataset.sort = name;
    row.append(head, counted, ...cells(estimates));
    return row;
  }

  function inCut(cut, row) {
    return cut.every(([column, value]) => (value === null ? true : column.codes[row] === value));
  }

  function writeTable(cut) {
    const { codes, groups, count, left } = grouped(cut);
    const totals = new Int32Array(count + 1);
    codes.forEach((code) => { if (code >= 0) totals[code] += 1; });
    const found = cut.length ? measured(codes, left ? count + 1 : count) : [];
    shownGroups = [];
    groups.forEach((group, place) => {
      if (cut.length && group.every((code, number_) => cut[number_][1] === null || cut[number_][1] === code)) {
        const names = group.map((code, number_) => cut[number_][0].values[code]);
        shownGroups.push({ names, count: totals[place], estimates: found.map((one) => one[place]) });
      }
    });
    const table = find("#slice-table");
    table.tBodies[0].replaceChildren(...shownGroups.map((one) => rowOf(one.names.join(" × "), one.count, one.estimates)));
    const counted = find(".row-count");
    counted.textContent = `${shownGroups.length} row${shownGroups.length === 1 ? "" : "s"}${left ? `, ${left} smaller groups not shown` : ""}`;
    delete counted.dataset.all;
    const cutBy = cut.map(([column, value]) => (value === null ? column.title : `${column.title}: ${column.values[value]}`));
    find("#slice-words").textContent = `${cutBy.length ? `By ${cutBy.join(" × ")}` : "Not cut"}. Grey: under ${SMALL} photos. Exploratory, pointwise 95 % intervals.`;
    document.dispatchEvent(new Event("rows-changed"));
    return cutBy.join(", ");
  }

  function filtered(cut) {
    return Int32Array.from({ length: Rows.count }, (_, row) => (inCut(cut, row) ? 0 : -1));
  }

  function writeTotal(inside) {
    const table = find("#slice-table"), foot = table.tFoot ?? table.createTFoot();
    const all = rowOf("All of these", inside.reduce((count, code) => count + (code === 0), 0), measured(inside, 1).map(([one]) => one));
    foot.replaceChildren(all);
  }

  function bins() {
    const known = [...firstNumber.label].filter((one) => !Number.isNaN(one));
    if (firstNumber.decades) {
      const codes = Int32Array.from(firstNumber.label, (one) => (Number.isNaN(one) ? -1 : Math.min(Math.floor(one / 10), 9)));
      return { codes, names: Array.from({ length: 10 }, (_, ten) => (ten === 9 ? "90+" : `${10 * ten}–${10 * ten + 9}`)), centres: Array.from({ length: 10 }, (_, ten) => 10 * ten + 5), edges: [0, 100] };
    }
    const low = known.reduce((a, b) => Math.min(a, b)), width = (known.reduce((a, b) => Math.max(a, b)) - low) / 8 || 1;
    const codes = Int32Array.from(firstNumber.label, (one) => (Number.isNaN(one) ? -1 : Math.min(Math.floor((one - low) / width), 7)));
    const edge = (place) => number(low + place * width, firstNumber.digits);
    return { codes, names: Array.from({ length: 8 }, (_, place) => `${edge(place)} to ${edge(place + 1)}`), centres: Array.from({ length: 8 }, (_, place) => low + (place + 0.5) * width), edges: [low, low + 8 * width] };
  }

  function writeCurve(inside, words) {
    if (!firstNumber) return;
    const { codes, names, centres, edges } = bins();
    const own = codes.map((code, row) => (inside[row] === 0 && !Number.isNaN(firstNumber.error[row]) ? code : -1));
    const [size, signed] = Estimates.means([firstNumber.size, firstNumber.error], own, names.length, Rows.clusters, Rows.seed);
    const kept = names.map((_, place) => place).filter((place) => size[place].count > 0);
    find("#curve-table").tBodies[0].replaceChildren(...kept.map((place) => {
      const form = { digits: firstNumber.digits };
      const row = element("tr", { className: size[place].count < SMALL ? "few" : "" }, element("th", { scope: "row", textContent: names[place] }), element("td", { className: "n", textContent: number(size[place].count, 0) }));
      [[size[place], form], [signed[place], { ...form, signed: true }]].forEach(([one, how]) => {
        row.append(element("td", { className: "n" }, number(one.mean, how.digits, how), element("span", { className: "ends", textContent: ends(one, how) })));
      });
      return row;
    }));
    drawCurve(kept.filter((place) => size[place].count > 1), { size, signed, centres, edges, words });
  }

  function drawCurve(kept, { size, signed, centres, edges, words }) {
    const wide = 420, high = 290, [left, right, top, bottom] = [40, 12, 44, 44];
    const reach = kept.flatMap((place) => [size[place].mean, signed[place].mean, ...[size[place], signed[place]].flatMap((one) => (size[place].count < SMALL ? [] : [one.low, one.high]))]).filter(Number.isFinite);
    const low = Math.min(0, ...reach), most = Math.max(1e-9, ...reach);
    const x = (value) => left + (value - edges[0]) / (edges[1] - edges[0]) * (wide - left - right);
    const y = (value) => top + (most - value) / (most - low) * (high - top - bottom);
    const step = 10 ** Math.floor(Math.log10((most - low) / 2)) * ((most - low) / 10 ** Math.floor(Math.log10((most - low) / 2)) > 6 ? 2 : 1);
    const parts = [];
    for (let tick = Math.ceil(low / step) * step; tick <= most; tick += step) {
      parts.push(`<path d="M${left} ${y(tick)}H${wide - right}" style="stroke:var(--${Math.abs(tick) < step / 2 ? "faint" : "grid"})"/><text x="${left - 6}" y="${y(tick) + 4}" text-anchor="end">${number(tick, step < 1 ? 1 : 0)}</text>`);
    }
    const span = edges[1] - edges[0];
    for (let tick = 0; tick <= 5; tick += 1) parts.push(`<text x="${x(edges[0] + tick * span / 5)}" y="${high - 26}" text-anchor="middle">${number(edges[0] + tick * span / 5, span > 20 ? 0 : firstNumber.digits)}</text>`);
    [[size, "--series-1", "", `mean size of the error`], [signed, "--series-2", "5 4", `mean error (above 0: too ${firstNumber.words[0]})`]].forEach(([one, colour, dashes, name], series) => {
      const known = kept.filter((place) => Number.isFinite(one[place].low));
      const band = [...known.map((place) => `${x(centres[place])} ${y(Math.min(one[place].high, most))}`), ...known.reverse().map((place) => `${x(centres[place])} ${y(Math.max(one[place].low, low))}`)];
      if (band.length) parts.push(`<path d="M${band.join("L")}Z" style="fill:var(${colour});opacity:.17"/>`);
      parts.push(`<path d="M${kept.map((place) => `${x(centres[place])} ${y(one[place].mean)}`).join("L")}" style="fill:none;stroke:var(${colour});stroke-width:2;stroke-dasharray:${dashes || "none"}"/>`);
      kept.forEach((place) => { parts.push(`<circle cx="${x(centres[place])}" cy="${y(one[place].mean)}" r="3.2" style="fill:var(${size[place].count < SMALL ? "--paper" : colour});stroke:var(${colour})"/>`); });
      parts.push(`<path d="M${left} ${10 + 17 * series}h26" style="stroke:var(${colour});stroke-width:2;stroke-dasharray:${dashes || "none"}"/><text x="${left + 32}" y="${14 + 17 * series}">${safe(name)}</text>`);
    });
    const unit = firstNumber.unit ? `, ${firstNumber.unit}` : "";
    parts.push(`<text x="${(left + wide - right) / 2}" y="${high - 6}" text-anchor="middle">labelled ${safe(firstNumber.title + unit)}; hollow: under ${SMALL} photos</text>`);
    const told = `Error by labelled ${firstNumber.title} of the cut (${words || "all photos"}); figures in the table below`;
    const holding = document.createElement("template");
    holding.innerHTML = `<svg class="chart drawn" role="img" viewBox="0 0 ${wide} ${high}">${parts.join("")}</svg>`;
    const drawing = holding.content.firstChild;
    drawing.setAttribute("aria-label", told);
    const figure = find("#slice-curve");
    figure.querySelector("svg")?.remove();
    drawing.dataset.csv = [...find("#curve-table").rows].map((row) => [...row.cells].map((one) => `"${[...one.childNodes].map((part) => part.textContent).join(" ")}"`).join(",")).join("\n");
    figure.prepend(drawing);
    document.dispatchEvent(new CustomEvent("figure-drawn", { detail: figure }));
  }

  function writeFaces(cut) {
    const order = heads[Number(find("#face-order").value)];
    const bound = (name, otherwise) => { const field = find(name); return field && field.value !== "" ? Number(field.value) : otherwise; };
    const [from, to, least] = [bound("#face-from", -Infinity), bound("#face-to", Infinity), bound("#face-error", 0)];
    const words = find("#face-words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = Rows.photos.filter(({ row, path, labels }) => {
      const text = `${path} ${labels.join(" ")} ${columns.map((one) => one.values[one.codes[row]] ?? "").join(" ")}`.toLowerCase();
      if (!inCut(cut, row) || !words.every((word) => text.includes(word))) return false;
      if (!firstNumber || (from === -Infinity && to === Infinity && least === 0)) return true;
      return firstNumber.label[row] >= from && firstNumber.label[row] <= to && firstNumber.size[row] >= least;
    });
    const rank = ({ row }) => (order.kind === "regression" ? order.size[row] || 0 : (order.right[row] === 0 ? 1000 : 0) + (order.sure[row] === 255 ? 0 : order.sure[row]));
    shown.sort((a, b) => rank(b) - rank(a));
    find("#face-count").textContent = `${Math.min(shown.length, faceLimit)} of ${shown.length} face${shown.length === 1 ? "" : "s"} that fit`;
    find("#more-faces").hidden = shown.length <= faceLimit;
    const faces = shown.slice(0, faceLimit).map((photo) => faceOf(photo, order));
    find("#slice-faces").replaceChildren(...faces);
    faces.forEach(Marks.restore);
    Marks.count();
  }

  function faceOf(photo, order) {
    const picture = photo.image ? element("img", { src: photo.image.src, alt: photo.image.alt, width: 104, height: 104 }) : element("span", { className: "absent", textContent: "photo not at hand" });
    const words = element("p", { className: "under-face" }, element("b", { textContent: Rows.headline(order, photo.row) }),
      `label ${photo.labels.filter(Boolean).join(", ")}`, element("br"), `guess ${heads.map((head) => Rows.answer(head, photo.row)).join(", ")}`,
      element("span", { className: "file", textContent: photo.path }));
    if (photo.explained) words.append(element("a", { href: photo.explained, textContent: "Explained" }));
    const one = element("li", {}, picture, words, document.getElementById("mark-fields").content.cloneNode(true));
    Object.assign(one.dataset, { photo: photo.code, path: photo.path, labels: JSON.stringify(Object.fromEntries(heads.map((head, place) => [head.column, photo.labels[place]]))) });
    const columnChoice = one.querySelector("select");
    columnChoice.value = order.column;
    return one;
  }

  function update() {
    const started = performance.now(), cut = chosen(), mine = (turn += 1);
    const words = writeTable(cut);
    holder.dataset.milliseconds = performance.now() - started;
    setTimeout(() => {
      if (mine !== turn) return; // the reader has gone on already
      const again = performance.now(), inside = filtered(cut);
      writeTotal(inside);
      writeCurve(inside, words);
      writeFaces(cut);
      holder.dataset.allMilliseconds = performance.now() - again + Number(holder.dataset.milliseconds);
      holder.dataset.done = String(mine);
    });
  }

  function save() {
    const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
    const harmless = (text) => (/^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text);
    const keys = heads.flatMap((head) => head.headings.map((one) => one.key));
    const lines = [["group", "n", ...keys.flatMap((key) => [key, `${key}_low`, `${key}_high`])].join(",")];
    for (const { names, count, estimates } of shownGroups) {
      const numbers = estimates.flatMap(({ mean, low, high }) => [mean, low, high].map((one) => (Number.isFinite(one) ? one : "")));
      lines.push([quoted(harmless(names.join(" × "))), count, ...numbers].join(","));
    }
    const link = element("a", { href: `data:text/csv;charset=utf-8,${encodeURIComponent(`\ufeff${lines.join("\r\n")}\r\n`)}`, download: "cut.csv" });
    link.click();
  }

  function listValues(choice, place) {
    const column = columns.find((one) => one.key === choice.value);
    values[place].replaceChildren(element("option", { value: "", textContent: "all values" }), ...(column?.values ?? []).map((name, code) => element("option", { value: code, textContent: name })));
    values[place].disabled = !column;
  }

  function changed() {
    faceLimit = FACES;
    Page.keep("cut", choices.map((choice, place) => `${columns.findIndex((one) => one.key === choice.value)}.${values[place].value}`).join("~"));
    update();
  }

  // What the address says was cut last: number of a column, and of a value.
  function restore() {
    Page.kept("cut").split("~").forEach((part, place) => {
      const [column, value] = part.split(".");
      if (part && choices[place]) choices[place].value = columns[Number(column)]?.key ?? "";
      if (!choices[place]) return;
      listValues(choices[place], place);
      if (value) values[place].value = value;
    });
    choices.forEach((choice, place) => { if (values[place].options.length < 2) listValues(choice, place); });
  }

  choices.forEach((choice, place) => choice.addEventListener("change", () => { listValues(choice, place); changed(); }));
  values.forEach((choice) => choice.addEventListener("change", changed));
  find("#face-filters").addEventListener("input", () => writeFaces(chosen()));
  find("#more-faces").addEventListener("click", () => { faceLimit += FACES; writeFaces(chosen()); });
  find("#slice-csv").addEventListener("click", save);
  holder.hidden = false;

  // Nothing is computed before somebody comes near; numbers are drawn ahead while the browser is idle.
  const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 50));
  const ahead = () => { if (Estimates.drawAhead(Rows.seed, Rows.count)) idle(ahead); };
  new IntersectionObserver((seen, watch) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    watch.disconnect();
    restore();
    update();
    idle(ahead);
  }, { rootMargin: "600px" }).observe(holder);
})();
