// Every figure can be saved: the drawing as an SVG file that stands alone, its numbers as CSV.
(() => {
  const style = getComputedStyle(document.documentElement);

  function standalone(drawing) {
    const copy = drawing.cloneNode(true);
    copy.querySelectorAll(".pointed").forEach((mark) => mark.remove());
    const [, , width, height] = copy.getAttribute("viewBox").split(" ");
    for (const name of ["data-csv", "data-axes", "data-cloud", "data-only", "tabindex", "class"]) copy.removeAttribute(name);
    copy.setAttribute("width", width);
    copy.setAttribute("height", height);
    copy.setAttribute("style", "font-family: sans-serif");
    if (drawing.matches(".drawn")) copy.querySelectorAll("text").forEach((text) => text.setAttribute("style", "font-size: 12px; fill: var(--ink)"));
    const title = document.createElementNS(drawing.namespaceURI, "title");
    title.textContent = drawing.getAttribute("aria-label");
    const ground = document.createElementNS(drawing.namespaceURI, "rect");
    Object.entries({ width: "100%", height: "100%", style: "fill: var(--paper)" }).forEach(([key, value]) => ground.setAttribute(key, value));
    copy.prepend(title, ground);
    return new XMLSerializer().serializeToString(copy).replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  }

  // The points of a cloud are in the rows of the page, not in the drawing.
  function cloudText(drawing) {
    if (typeof Rows === "undefined" || !Rows || !drawing.dataset.cloud) return "";
    const head = Rows.heads.find((one) => one.name === drawing.dataset.cloud);
    const lines = Rows.pointed(drawing).map((row) => [head.label[row], head.predicted[row]].map((value) => Number(value.toPrecision(7))).join(","));
    return `labelled,predicted\n${lines.join("\n")}\n`;
  }

  function save(text, kind, name) {
    const link = Object.assign(document.createElement("a"), { href: `data:${kind};charset=utf-8,${encodeURIComponent(text)}`, download: name });
    link.click();
  }

  function buttonsFor(figure) {
    const drawing = figure.querySelector("svg.chart");
    if (!drawing) return;
    const now = () => figure.querySelector("svg.chart"); // it may be drawn anew
    const told = (now().getAttribute("aria-label") ?? "figure").split(/[.;:]/)[0].trim();
    const name = told.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60).toLowerCase() || "figure";
    const add = (text, work) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "plain-button", textContent: text });
      button.setAttribute("aria-label", `Save “${told}” as ${text}`);
      button.addEventListener("click", work);
      return button;
    };
    const tools = Object.assign(document.createElement("div"), { className: "figure-tools" });
    tools.append(add("SVG", () => save(standalone(now()), "image/svg+xml", `${name}.svg`)));
    const isCloud = typeof Rows !== "undefined" && Rows && drawing.dataset.cloud;
    if (drawing.dataset.csv || isCloud) tools.append(add("CSV", () => save(`\ufeff${isCloud ? cloudText(now()) : now().dataset.csv}`, "text/csv", `${name}.csv`)));
    figure.append(tools);
  }

  document.querySelectorAll("figure").forEach(buttonsFor);
  document.addEventListener("figure-drawn", ({ detail }) => { if (!detail.querySelector(".figure-tools")) buttonsFor(detail); });
  document.querySelectorAll(".charts").forEach((group) => { if (group.querySelector(".figure-tools")) Page.rove(group, ".figure-tools button"); });
})();
