"use strict";
(() => {
  const tip = document.getElementById("tip");
  const dots = [...document.querySelectorAll("[data-tip]")];
  const rows = [...document.querySelectorAll("tr[data-name]")];

  // One plot at a time; without this script all of them are there.
  const panels = [...document.querySelectorAll("[data-axis]")];
  const choice = document.getElementById("axes");
  if (choice) {
    choice.hidden = false;
    const turn = () => {
      const chosen = choice.querySelector(":checked").value;
      for (const panel of panels) panel.hidden = panel.dataset.axis !== chosen;
      tip.hidden = true;
    };
    choice.addEventListener("change", turn);
    turn();
  }

  const light = (name, on) => {
    for (const one of [...dots, ...rows]) {
      if (one.dataset.name === name) one.classList.toggle("lit", on);
    }
  };
  const hide = (event) => {
    tip.hidden = true;
    light(event.currentTarget.dataset.name, false);
  };
  const show = (event) => {
    const dot = event.currentTarget;
    const box = dot.querySelector(".reach").getBoundingClientRect();
    tip.textContent = dot.dataset.tip;
    tip.hidden = false;
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(8, Math.min(box.right, room))}px`;
    const above = box.top - tip.offsetHeight - 4;
    tip.style.top = `${above > 8 ? above : box.bottom + 4}px`;
    light(dot.dataset.name, true);
  };
  for (const dot of dots) {
    dot.addEventListener("pointerenter", show);
    dot.addEventListener("focus", show);
    dot.addEventListener("pointerleave", hide);
    dot.addEventListener("blur", hide);
  }
  for (const row of rows) {
    row.addEventListener("pointerenter", () => light(row.dataset.name, true));
    row.addEventListener("pointerleave", () => light(row.dataset.name, false));
  }

  for (const head of document.querySelectorAll(".contest thead th[data-more]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const place = head.cellIndex;
      const sorted = head.getAttribute("aria-sort");
      const down = sorted ? sorted === "ascending" : head.dataset.more === "1";
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = head.closest("table").tBodies[0];
      const of = (row) => row.cells[place].dataset.value;
      const order = [...body.rows].sort((a, b) => {
        // What has no figure stays at the end, whichever way it is sorted.
        if (of(a) === "" || of(b) === "") return (of(a) === "") - (of(b) === "");
        return (of(a) - of(b)) * (down ? -1 : 1);
      });
      body.append(...order);
    });
  }

  // What is folded away on a screen cannot be unfolded on paper.
  const folded = [];
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details:not([open])")) {
      one.open = true;
      folded.push(one);
    }
  });
  addEventListener("afterprint", () => {
    for (const one of folded.splice(0)) one.open = false;
  });
})();
