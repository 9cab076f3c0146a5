// What is under the pointer: in a cloud of points the photo, in a map of explanation the region. The arrow keys go from
// point to point, the largest error first; a tap does as well.
(() => {
  const rows = typeof Rows === "undefined" ? null : Rows;
  const clouds = rows ? [...document.querySelectorAll("svg.chart[data-cloud][data-axes]")] : [];
  const maps = [...document.querySelectorAll("[data-regions]")];
  if (!clouds.length && !maps.length) return;
  const card = Object.assign(document.createElement("div"), { id: "pointed", className: "pointed-card", hidden: true });
  card.setAttribute("role", "status");
  document.body.append(card);

  function show(parts, x, y) {
    card.replaceChildren(...parts);
    card.hidden = false;
    const { offsetWidth: width, offsetHeight: height } = card;
    card.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
    card.style.top = `${y + 14 + height > innerHeight ? Math.max(4, y - height - 14) : y + 14}px`;
  }

  function hide() {
    card.hidden = true;
    document.querySelectorAll("circle.pointed").forEach((mark) => mark.remove());
  }

  const line = (text, tag = "span") => Object.assign(document.createElement(tag), { textContent: text });
  const byRow = new Map((rows?.photos ?? []).map((photo) => [photo.row, photo]));

  function cloud(drawing) {
    const head = rows.heads.find((one) => one.name === drawing.dataset.cloud);
    const [left, top, right, bottom, lowX, highX, lowY, highY] = drawing.dataset.axes.split(" ").map(Number);
    const [, , width, height] = drawing.getAttribute("viewBox").split(" ").map(Number);
    const share = (from, to, part) => (from + (to - from) * part) / 10000;
    const placeOf = (row) => [
      width * share(left, right, (head.label[row] - lowX) / (highX - lowX)),
      height * share(bottom, top, (head.predicted[row] - lowY) / (highY - lowY)),
    ];
    let known = null, step = -1;
    const places = () => { known ??= rows.pointed(drawing).map((row) => [row, ...placeOf(row)]).sort((a, b) => head.size[b[0]] - head.size[a[0]]); return known; };

    function tell([row, x, y]) {
      document.querySelectorAll("circle.pointed").forEach((mark) => mark.remove());
      const mark = document.createElementNS(drawing.namespaceURI, "circle");
      Object.entries({ cx: x, cy: y, r: 5, class: "pointed" }).forEach(([key, value]) => mark.setAttribute(key, value));
      drawing.append(mark);
      const box = drawing.getBoundingClientRect(), photo = byRow.get(row);
      const labels = rows.heads.map((one) => rows.labelled(one, row)).filter(Boolean).join(", ");
      const parts = [line(rows.headline(head, row), "b"), line(`label ${labels}`), line(`guess ${rows.heads.map((one) => rows.answer(one, row)).join(", ")}`)];
      if (photo?.image) parts.unshift(Object.assign(document.createElement("img"), { src: photo.image.src, alt: "", width: 104, height: 104 }));
      else parts.push(line("its picture is not in this page"));
      if (photo) parts.push(line(photo.path));
      show(parts, box.left + x * box.width / width, box.top + y * box.height / height);
    }

    function nearest(event) {
      const box = drawing.getBoundingClientRect(), scale = width / box.width;
      const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      let found = null, least = (14 * scale) ** 2;
      places().forEach((one, place) => {
        const distance = (one[1] - x) ** 2 + (one[2] - y) ** 2;
        if (distance < least) { least = distance; found = one; step = place; }
      });
      if (found) tell(found);
      else hide();
    }

    drawing.tabIndex = 0;
    drawing.addEventListener("pointermove", nearest);
    drawing.addEventListener("pointerdown", nearest);
    drawing.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(); });
    drawing.addEventListener("blur", hide);
    drawing.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
      if (event.key === "Escape") hide();
      if (!(event.key in steps) || !places().length) return;
      event.preventDefault();
      step = Math.min(Math.max(step + steps[event.key], 0), places().length - 1);
      tell(places()[step]);
    });
  }

  function named(group) {
    const { side, runs, names } = JSON.parse(group.dataset.regions);
    const places = new Uint16Array(side * side);
    for (let run = 0, at = 0; run < runs.length; run += 2) { places.fill(runs[run], at, at + runs[run + 1]); at += runs[run + 1]; }
    group.querySelectorAll("img").forEach((image) => {
      if (image.closest("[data-regions]") !== group || !(image.dataset.weights || "names" in image.dataset)) return;
      const weights = image.dataset.weights ? JSON.parse(image.dataset.weights) : null;
      const tell = (event) => {
        const box = image.getBoundingClientRect();
        const at = (place, start, length) => Math.min(Math.max(Math.floor((place - start) / length * side), 0), side - 1);
        const region = places[at(event.clientY, box.top, box.height) * side + at(event.clientX, box.left, box.width)];
        show([line(names[region] ?? `region ${region}`, "b"), ...(weights?.[region] ? [line(weights[region])] : [])], event.clientX, event.clientY);
      };
      image.addEventListener("pointermove", tell);
      image.addEventListener("pointerdown", tell);
      image.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(); });
    });
  }

  clouds.forEach(cloud);
  maps.forEach(named);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  document.addEventListener("pointerdown", (event) => { if (!event.target.closest("svg[data-cloud], [data-regions] img")) hide(); });
})();
