"use strict";
// Sorting, filtering and unfolding of the tables of a board. Without this script the page shows everything but the unfolded rows,
// which the table of conditions shows too.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  // --- unfolding: the conditions of a predictor below its row
  for (const button of all("button.unfold")) {
    const detail = document.getElementById(button.getAttribute("aria-controls"));
    button.hidden = false;
    button.addEventListener("click", () => {
      detail.hidden = !detail.hidden;
      button.setAttribute("aria-expanded", String(!detail.hidden));
    });
  }

  // --- sorting: within each section; annotators and those without a number stay last, details stay with their row
  const value = (row, column, kind) => {
    const text = row.cells[column].dataset.value ?? "";
    return kind === "text" ? text.toLowerCase() : text === "" ? null : Number(text);
  };
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (a < b ? -1 : a > b ? 1 : 0);
  };
  const sort = (table, column, kind, sign) => {
    const body = table.tBodies[0];
    const blocks = [];
    for (const row of [...body.rows]) {
      if (row.classList.contains("detail")) blocks.at(-1).rows.push(row);
      else blocks.push({ rows: [row], row });
    }
    let section = 0;
    for (const block of blocks) {
      const kinds = block.row.classList;
      if (kinds.contains("section")) section += 1;
      block.section = section;
      block.level = kinds.contains("section") ? 0 : kinds.contains("human") ? 2 : kinds.contains("notice") ? 3 : 1;
      block.value = block.level === 1 ? value(block.row, column, kind) : null;
    }
    blocks.sort((a, b) => a.section - b.section || a.level - b.level || (a.level === 1 ? compare(a.value, b.value, sign) : 0));
    body.append(...blocks.flatMap((block) => block.rows));
  };
  for (const table of all("main section table")) {
    const heads = all("thead th", table).filter((head) => head.closest("table") === table);
    for (const head of heads.filter((one) => one.dataset.sort)) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(table, head.cellIndex, head.dataset.sort, down ? -1 : 1);
      });
    }
  }

  // --- filtering: predictors by name and trust, conditions by suite
  const name = document.getElementById("filter-name");
  const tiers = all("#filter-tier input");
  const suite = document.getElementById("filter-suite");
  const count = document.getElementById("filter-count");
  const filter = () => {
    const wanted = name.value.trim().toLowerCase();
    const trusted = new Set(tiers.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    let total = 0;
    for (const row of all("tr[data-name]")) {
      const tier = row.dataset.tier;
      row.hidden = !row.dataset.name.toLowerCase().includes(wanted) || (tiers.length > 0 && tier !== "" && !trusted.has(tier));
      const next = row.nextElementSibling;
      if (next && next.classList.contains("detail")) {
        const button = row.querySelector("button.unfold");
        next.hidden = row.hidden || button.getAttribute("aria-expanded") !== "true";
      }
      if (row.closest("#ranking")) {
        total += 1;
        shown += !row.hidden;
      }
    }
    if (suite) for (const row of all("#conditions tr[data-section], #first tr[data-section], tr.detail tr[data-section]")) {
      row.hidden = suite.value !== "" && row.dataset.section !== suite.value;
    }
    count.textContent = shown === total ? "" : `${shown} of ${total} predictors`;
  };
  const form = document.getElementById("controls");
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("pageshow", filter); // who comes back finds the filters as they were left
})();
