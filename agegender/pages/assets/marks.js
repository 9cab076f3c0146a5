// Marks on photos, saved as the file that `agegender prepare --corrections` takes. They live as long as the page is
// open and nowhere else, so that nothing about a photo stays in a browser.
const Marks = (() => {
  const lists = [...document.querySelectorAll("[data-marks]")];
  const button = document.getElementById("save-marks");
  if (!lists.length || !button) return { restore() {}, count() {} };
  const say = document.getElementById("status");
  const made = new Map(); // photo and column of the list -> what was marked
  let saved = true;

  const boxes = (one) => [...one.querySelectorAll("input[type=checkbox]")];
  const keyOf = (one) => `${one.dataset.photo} ${one.dataset.column ?? ""}`;
  const markOf = (one) => boxes(one).find((box) => box.checked)?.value ?? "";
  // A spreadsheet would run what starts like a formula.
  const cell = (text) => `"${(/^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;

  function count() {
    const listed = document.querySelectorAll("[data-marks] li[data-photo]").length;
    document.getElementById("marked-count").textContent = `${made.size} of ${Math.max(listed, made.size)} marked`;
    button.disabled = made.size === 0;
  }

  function take(one) {
    const mark = markOf(one), chosen = one.querySelector("select");
    if (!mark) { made.delete(keyOf(one)); return; }
    const labels = one.dataset.labels ? JSON.parse(one.dataset.labels) : null;
    const column = chosen ? chosen.value : one.dataset.column;
    const label = labels ? labels[column] ?? "" : one.dataset.label;
    const typed = one.querySelector("input[type=text]").value.trim();
    made.set(keyOf(one), { photo: one.dataset.photo, path: one.dataset.path ?? "", column, label, mark, typed });
  }

  for (const list of lists) {
    list.addEventListener("change", (event) => {
      const one = event.target.closest("li[data-photo]");
      if (!one) return;
      if (event.target.type === "checkbox" && event.target.checked) {
        boxes(one).forEach((box) => { box.checked = box === event.target; });
      } else if (event.target.type === "text" && event.target.value.trim() && !markOf(one)) {
        boxes(one)[0].checked = true; // whoever types a label means that the old one is wrong
      }
      take(one);
      saved = false;
      count();
    });
  }

  button.addEventListener("click", () => {
    const lines = ["photo,path,column,label,mark,correction"];
    for (const { photo, path, column, label, mark, typed } of made.values()) {
      lines.push([photo, path, column, label, mark, mark === "wrong label" ? typed : ""].map(cell).join(","));
    }
    const link = document.createElement("a");
    link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(`\ufeff${lines.join("\r\n")}\r\n`)}`;
    link.download = "corrections.csv";
    link.click();
    saved = true;
    say.textContent = `${lines.length - 1} marks saved as corrections.csv`;
  });

  window.addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
  document.getElementById("marking").hidden = false;
  count();

  // A list that is made anew shows what was marked before.
  function restore(one) {
    const known = made.get(keyOf(one));
    if (!known) return;
    boxes(one).forEach((box) => { box.checked = box.value === known.mark; });
    one.querySelector("input[type=text]").value = known.typed;
    const chosen = one.querySelector("select");
    if (chosen) chosen.value = known.column;
  }

  return { restore, count };
})();
