"use strict";
(() => {
  const tip = document.getElementById("tip");
  const list = document.getElementById("class-names");
  const names = list ? JSON.parse(list.textContent) : [];

  for (const map of document.querySelectorAll(".map")) {
    const counts = new Map();
    for (const [row, column, count] of JSON.parse(map.dataset.cells)) {
      counts.set(row * names.length + column, count);
    }
    const ground = map.querySelector(".ground");
    const show = (event) => {
      const box = ground.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left) / box.width) * names.length);
      const row = Math.floor(((event.clientY - box.top) / box.height) * names.length);
      const outside = Math.min(row, column) < 0 || Math.max(row, column) >= names.length;
      tip.hidden = outside;
      if (outside) return;
      const count = counts.get(row * names.length + column) || 0;
      tip.textContent = row === column
        ? `${names[row]}, found: ${count}`
        : `${names[row]} taken for ${names[column]}: ${count}`;
      const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
      tip.style.left = `${Math.max(8, Math.min(event.clientX + 12, room))}px`;
      tip.style.top = `${Math.max(8, event.clientY - tip.offsetHeight - 12)}px`;
    };
    map.addEventListener("pointermove", show);
    map.addEventListener("pointerdown", show);
    map.addEventListener("pointerleave", () => { tip.hidden = true; });
  }
})();
