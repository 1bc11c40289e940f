for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = document.querySelector("tbody");
    const up = head.getAttribute("aria-sort") !== "ascending", k = head.cellIndex;
    const key = row => row.cells[k].dataset.key ?? row.cells[k].textContent.trim();
    const compare = (a, b) => {
      const x = key(a), y = key(b);
      return isNaN(x) || isNaN(y) ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    };
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...[...body.rows].sort((a, b) => up ? compare(a, b) : compare(b, a)));
    document.querySelector("#sorted").textContent =
      "Sorted by " + button.textContent.trim().toLowerCase() + (up ? ", ascending." : ", descending.");
  });
}
