// Marks on suspected labels, saved as the file that `agegender prepare --corrections` takes.
(() => {
  const list = document.getElementById("suspects");
  const button = document.getElementById("save-marks");
  if (!list || !button) return;
  const say = document.getElementById("status");
  const suspects = [...list.querySelectorAll("li[data-photo]")];
  let saved = true;

  const boxes = (one) => [...one.querySelectorAll("input[type=checkbox]")];
  const markOf = (one) => boxes(one).find((box) => box.checked)?.value ?? "";
  // A spreadsheet would run what starts like a formula.
  const cell = (text) => `"${(/^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;

  function count() {
    const marked = suspects.filter(markOf).length;
    document.getElementById("marked-count").textContent = `${marked} of ${suspects.length} marked`;
    button.disabled = marked === 0;
  }

  list.addEventListener("change", (event) => {
    const one = event.target.closest("li[data-photo]");
    if (!one) return;
    if (event.target.type === "checkbox" && event.target.checked) {
      boxes(one).forEach((box) => { box.checked = box === event.target; });
    } else if (event.target.type === "text" && event.target.value.trim() && !markOf(one)) {
      boxes(one)[0].checked = true; // whoever types a label means that the old one is wrong
    }
    saved = false;
    count();
  });

  button.addEventListener("click", () => {
    const lines = ["photo,path,column,label,mark,correction"];
    for (const one of suspects.filter(markOf)) {
      const typed = markOf(one) === "wrong label" ? one.querySelector("input[type=text]").value.trim() : "";
      const { photo, path = "", column, label } = one.dataset;
      lines.push([photo, path, column, label, markOf(one), typed].map(cell).join(","));
    }
    const link = document.createElement("a");
    link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(`${lines.join("\r\n")}\r\n`)}`;
    link.download = "corrections.csv";
    link.click();
    saved = true;
    say.textContent = `${lines.length - 1} marks saved as corrections.csv`;
  });

  window.addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
  document.getElementById("marking").hidden = false;
  count();
})();
