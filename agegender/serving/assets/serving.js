"use strict";
// Photos to the server, a few at a time; answers as text. Nothing is put into the page as markup, nothing is stored.
(() => {
  const AT_ONCE = 4, MOST_TRIES = 8, SHOWN = 5;
  const find = (id) => document.getElementById(id);
  let model = null, token = "", photoCount = 0, working = 0, done = 0, failed = 0;
  const waiting = [];

  function make(name, words = "", className = "") {
    const element = document.createElement(name);
    if (words) element.textContent = words;
    if (className) element.className = className;
    return element;
  }

  function folded(title, parts) {
    const details = make("details"), inside = make("div", "", "inside");
    inside.append(...parts);
    details.append(make("summary", title), inside);
    return details;
  }

  const sleep = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
  const number = (value, digits) => value.toFixed(digits).replace("-", "−");

  async function ask(path, body) {
    for (let tries = 1; ; tries += 1) {
      let answer;
      try {
        answer = await fetch(path, { method: body ? "POST" : "GET", body, headers: token ? { Authorization: `Bearer ${token}` } : {} });
      } catch {
        throw new Error("The server can't be reached, or has closed the connection.");
      }
      if (answer.status === 401) find("locked").hidden = false;
      const isBusy = answer.status === 429 || answer.status === 503;
      if (isBusy && tries < MOST_TRIES) {
        await sleep(Math.min(Number(answer.headers.get("Retry-After")) || 1, 10));
        continue;
      }
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Error(said.rows?.[0]?.error ?? said.error ?? `The server answered with status ${answer.status}.`);
      return said;
    }
  }

  // The model

  function showList(id, texts) {
    find(id).replaceChildren(...texts.map((text) => make("li", text)));
  }

  function showModel() {
    find("model-name").textContent = `agegender: ${model.name}`;
    find("drawn").hidden = !model.is_drawn;
    showList("figures", model.figures);
    showList("not-for", model.not_for);
    find("facts").replaceChildren(...model.facts.flatMap((fact) => [make("dt", fact.name), make("dd", fact.value)]));
    find("cautions").replaceChildren(...model.cautions.filter(Boolean).map((text) => make("p", text)));
    showWeaknesses();
  }

  function showWeaknesses() {
    const { status, words, findings } = model.weaknesses;
    const none = "No gap between groups could be told from chance. That doesn't prove that there is none.";
    find("weak-words").textContent = status === "being worked out" ? "Being worked out from its predictions …"
      : status === "known" ? [words, findings.length ? "" : none].filter(Boolean).join(" ") : words;
    const items = findings.map((finding) => {
      const item = make("li");
      item.append(make("p", finding.sentence));
      return item;
    });
    find("weaknesses").replaceChildren(...items.slice(0, SHOWN));
    const rest = make("ol", "", "findings");
    rest.append(...items.slice(SHOWN));
    find("more-weaknesses").replaceChildren(...(items.length > SHOWN ? [folded(`${items.length - SHOWN} more`, [rest])] : []));
  }

  async function loadModel() {
    try {
      model = await ask("/model");
    } catch (error) {
      find("weak-words").textContent = "";
      find("status").textContent = error.message;
      return;
    }
    find("locked").hidden = true;
    find("status").textContent = "";
    showModel();
    while (model.weaknesses.status === "being worked out") {
      await sleep(2);
      try {
        model.weaknesses = (await ask("/model")).weaknesses;
      } catch {
        return;
      }
      showWeaknesses();
    }
  }

  function groupOf(row, rule) {
    const value = row[rule.predicted];
    if (value === null || value === undefined) return null;
    return rule.edges ? rule.names[rule.edges.filter((edge) => value >= edge).length] : String(value);
  }

  function concerns(row) {
    const { groups, findings } = model.weaknesses;
    const isOf = (finding) => finding.columns.length && finding.values.length
      && finding.columns.every((column, place) => groups[column] && groupOf(row, groups[column]) === finding.values[place]);
    return findings.filter(isOf);
  }

  // One face

  function said(head, row) {
    const box = make("div"), value = row[head.predicted];
    box.append(make("dt", head.kind === "regression" ? head.title : `${head.title} label, as an annotator might give it`));
    if (value === null || value === undefined) {
      box.append(make("dd", "unknown", "value"));
      return box;
    }
    if (head.kind === "regression") {
      const digits = Math.abs(value) < 10 ? 1 : 0;
      box.append(make("dd", `${number(value, digits)} ${head.unit}`.trim(), "value"));
      const isKnown = row[head.low] !== null && row[head.low] !== undefined;
      box.append(make("dd", isKnown ? `90 % interval: ${number(row[head.low], digits)} to ${number(row[head.high], digits)}` : "without an interval", "more"));
      return box;
    }
    box.append(make("dd", String(value), "value"));
    for (const [name, column] of Object.entries(head.probabilities)) {
      const share = row[column];
      if (share === null || share === undefined) continue;
      const line = make("dd", `${name}: ${number(100 * share, 1)} %`, "more"), bar = make("div", "", "bar"), filled = make("i");
      filled.style.width = `${100 * share}%`;
      bar.append(filled);
      line.append(bar);
      box.append(line);
    }
    return box;
  }

  function face(row, count, file, options) {
    const part = make("div", "", "face"), answers = make("dl", "", "said");
    part.append(make("h4", count > 1 ? `Face ${row.face + 1}` : "Face"));
    answers.append(...model.heads.map((head) => said(head, row)));
    part.append(answers);
    if (row.problems?.length) part.append(make("p", `Doubtful: ${row.problems.join(", ")}.`, "problems"));
    const known = concerns(row);
    if (known.length) {
      const list = make("div", "", "concerns");
      list.append(make("p", "Known of the group that this answer falls into:", "small"), make("p", known[0].sentence));
      if (known.length > 1) list.append(folded(`${known.length - 1} more`, known.slice(1).map((finding) => make("p", finding.sentence))));
      part.append(list);
    }
    const button = make("button", count > 1 ? `Explain face ${row.face + 1}` : "Explain this answer"), place = make("div", "", "explanation");
    button.type = "button";
    button.addEventListener("click", () => explain(button, place, row, file, options));
    part.append(button, place);
    return part;
  }

  async function explain(button, place, row, file, options) {
    const words = button.textContent;
    button.disabled = true;
    button.textContent = "Explaining …";
    place.setAttribute("aria-live", "polite");
    const body = new FormData(), address = new URLSearchParams(options);
    body.append("photos", file);
    if (row.face) address.set("face", row.face);
    try {
      showExplanation(place, await ask(`/explain?${address}`, body));
      button.remove();
    } catch (error) {
      place.replaceChildren(make("p", error.message, "error"));
      button.disabled = false;
      button.textContent = words;
    }
  }

  function picture(source, title, words, alternative) {
    const figure = make("figure"), image = make("img"), caption = make("figcaption");
    image.src = source;
    image.alt = alternative;
    caption.append(make("b", title), make("span", words));
    figure.append(image, caption);
    return figure;
  }

  function showExplanation(place, told) {
    const maps = make("div", "", "maps"), words = make("div");
    maps.append(picture(told.picture, "The regions", "as the model saw the face", "The face, divided into regions"));
    if (told.problems.length) words.append(make("p", `Doubtful: ${told.problems.join("; ")}.`, "problems"));
    for (const head of Object.values(told.heads)) {
      maps.append(picture(head.picture, head.name, head.colours.join(", "), `Map of what speaks for and against ${head.name}`));
      words.append(make("h4", head.name), make("p", head.verdict));
      const list = make("ul", "", "regions");
      list.append(...head.strongest.map((region) => make("li", `${region.name}: ${region.weight > 0 ? "+" : ""}${number(region.weight, head.digits)} ${head.unit}`
        + (region.low === null ? "" : ` (${number(region.low, head.digits)} to ${number(region.high, head.digits)})`))));
      words.append(list);
    }
    place.replaceChildren(maps, words);
  }

  // One photo

  function frame(file, rows) {
    const figure = make("figure"), holder = make("div", "", "frame"), image = make("img"), address = URL.createObjectURL(file);
    image.alt = `The photo ${file.name}`;
    image.addEventListener("load", () => {
      URL.revokeObjectURL(address);
      for (const row of rows.filter((one) => one.face_width !== undefined)) {
        const box = make("div", "", "box"), share = (part, whole) => `${100 * part / whole}%`;
        // The detector's box may reach beyond the photo; what is drawn stays on it.
        const within = (start, length, whole) => {
          const first = Math.max(0, start);
          return [share(first, whole), share(Math.min(whole, start + length) - first, whole)];
        };
        [box.style.left, box.style.width] = within(row.face_left, row.face_width, image.naturalWidth);
        [box.style.top, box.style.height] = within(row.face_top, row.face_height, image.naturalHeight);
        box.append(make("span", String(row.face + 1)));
        holder.append(box);
      }
    });
    image.addEventListener("error", () => {
      URL.revokeObjectURL(address);
      holder.replaceChildren(make("p", "Your browser doesn't show photos of this kind.", "quiet"));
    });
    image.src = address;
    holder.append(image);
    figure.append(holder);
    return figure;
  }

  function optionsNow() {
    const chosen = document.querySelector("input[name=faces]:checked").value;
    return chosen === "cropped" ? { cropped: "true" } : { faces_in_photo: chosen };
  }

  async function judge({ file, article, options }) {
    const fail = (words) => { article.append(make("p", words, "error")); failed += 1; };
    if (file.size > model.limits.bytes) {
      fail(`This file has ${number(file.size / 1e6, 1)} MB; the server takes ${number(model.limits.bytes / 1e6, model.limits.bytes < 1e7 ? 1 : 0)} MB at most.`);
      return;
    }
    const body = new FormData();
    body.append("photos", file);
    try {
      const rows = await ask(`/predict?${new URLSearchParams(options)}`, body), faces = make("div");
      faces.append(...rows.map((row) => face(row, rows.length, file, options)));
      article.append(frame(file, rows), faces);
      done += 1;
    } catch (error) {
      fail(error.message);
    }
  }

  async function work() {
    working += 1;
    while (waiting.length) {
      const next = waiting.shift();
      next.article.classList.add("is-busy");
      await judge(next);
      next.article.classList.remove("is-busy");
      next.article.removeAttribute("aria-busy");
      say();
    }
    working -= 1;
  }

  function say() {
    const left = waiting.length + find("results").querySelectorAll("[aria-busy]").length;
    const words = [`${done} photo${done === 1 ? "" : "s"} answered`];
    if (failed) words.push(`${failed} not`);
    if (left) words.push(`${find("results").querySelectorAll("[aria-busy]").length} to go`);
    find("status").textContent = `${words.join(", ")}.`;
  }

  function take(files) {
    if (!model) {
      find("status").textContent = "The model isn't known yet: give the token first, or load the page again.";
      return;
    }
    const options = optionsNow();
    for (const file of files) {
      photoCount += 1;
      const article = make("article", "", "photo"), title = make("h3", file.name || `photo ${photoCount}`);
      title.id = `photo-${photoCount}`;
      article.setAttribute("aria-labelledby", title.id);
      article.setAttribute("aria-busy", "true");
      article.append(title);
      find("results").append(article);
      waiting.push({ file, article, options });
    }
    say();
    while (working < AT_ONCE && waiting.length) work();
  }

  const drop = find("drop");
  find("files").addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = ""; // the same photo may be chosen again
  });
  drop.addEventListener("submit", (event) => event.preventDefault());
  for (const name of ["dragenter", "dragover"]) {
    window.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("is-over"); });
  }
  for (const name of ["dragleave", "drop"]) window.addEventListener(name, () => drop.classList.remove("is-over"));
  window.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files); });
  window.addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files); });
  find("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    token = find("token").value.trim();
    find("token").value = "";
    loadModel();
  });
  loadModel();
})();
