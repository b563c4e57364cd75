// Tables of more than twenty rows are sorted by a click on a column's head; a second click turns the order.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("article table")) {
    const body = table.tBodies[0];
    if (!body || body.rows.length <= 20 || !table.tHead) continue;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.tabIndex = 0;
      head.classList.add("sorts");
      head.setAttribute("aria-sort", "none");
      const sort = () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const text = (row) => row.cells[column].textContent.trim();
        const compare = (one, other) => {
          const a = text(one), b = text(other);
          if (!a || !b) return a ? -1 : b ? 1 : 0; // cells without a value stay last
          const numbers = !Number.isNaN(Number(a)) && !Number.isNaN(Number(b));
          return (numbers ? Number(a) - Number(b) : a.localeCompare(b)) * (down ? -1 : 1);
        };
        body.append(...[...body.rows].sort(compare));
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          sort();
        }
      });
    });
  }
});
