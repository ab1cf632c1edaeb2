"use strict";
(() => {
  const page = document.querySelector(".trying");
  const says = document.querySelector(".says");
  const problem = document.getElementById("problem");
  const verdict = document.getElementById("verdict");
  const place = location.pathname;

  const element = (name, kind, text) => {
    const made = document.createElement(name);
    made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const ms = (value) => `${value >= 10 ? value.toFixed(1) : value.toFixed(value >= 1 ? 2 : 3)} ms`;
  const fail = (text) => {
    problem.textContent = text;
    problem.hidden = false;
    says.classList.add("stale");
  };

  const show = (answers) => {
    problem.hidden = true;
    says.classList.remove("stale");
    answers.forEach((answer, index) => {
      const card = document.querySelector(`[data-place="${index}"]`);
      const [first] = answer.best;
      card.querySelector(".label").textContent = first.label;
      card.querySelector(".ms").textContent = ms(answer.milliseconds);
      const list = card.querySelector(".best");
      list.replaceChildren();
      for (const { label, share } of answer.best) {
        if (share === null) continue;
        const line = element("li", "");
        const track = element("div", "track");
        const fill = element("div", "fill");
        fill.style.width = `${100 * share}%`;
        track.append(fill);
        line.append(element("span", "name", label), `${(100 * share).toFixed(1)} %`, track);
        list.append(line);
      }
    });
    if (answers.length < 2) return;
    const [full, pruned] = answers;
    const times = full.milliseconds / pruned.milliseconds;
    const speed = times >= 1.05 ? `${times.toFixed(1)} times as fast`
      : times <= 0.95 ? `${(1 / times).toFixed(1)} times as slow` : "as fast";
    const same = full.best[0].label === pruned.best[0].label;
    const numbers = full.best[0].share === null;
    verdict.textContent = `${pruned.title}: ${speed}`
      + (numbers ? "." : same ? ", the same answer." : ", another answer.");
  };

  // Only the newest answer is shown, whichever comes first.
  let newest = 0;
  const ask = async (action, body, type) => {
    const turn = ++newest;
    try {
      const reply = await fetch(place + action, {
        method: "POST", body, headers: { "Content-Type": type }, cache: "no-store",
      });
      const said = await reply.json();
      if (turn !== newest) return null;
      if (!reply.ok) {
        fail(said.error);
        return null;
      }
      show(said.answers);
      return said;
    } catch {
      if (turn === newest) fail("The server does not answer. Is secateur try still running?");
      return null;
    }
  };

  if (page.dataset.kind === "table") {
    const form = document.getElementById("form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const row = Object.fromEntries(new FormData(form));
      ask("row", JSON.stringify(row), "application/json");
    });
    form.addEventListener("change", () => form.requestSubmit());
    form.requestSubmit();
    return;
  }

  const limit = Number(page.dataset.limit);
  const drop = document.getElementById("drop");
  const picture = document.getElementById("picture");
  const video = document.getElementById("video");
  const empty = document.getElementById("empty");
  const seen = document.getElementById("seen");
  const file = document.getElementById("file");
  const camera = document.getElementById("camera");
  let stream = null;

  const look = async (blob) => {
    if (blob.size > limit) {
      fail(`The file has ${blob.size.toLocaleString("en")} bytes; ${limit.toLocaleString("en")} are allowed.`);
      return;
    }
    const said = await ask("image", blob, blob.type || "application/octet-stream");
    if (said) {
      document.getElementById("pixels").src = said.seen;
      seen.hidden = false;
    }
  };
  const take = (blob) => {
    stop();
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(blob);
    picture.hidden = false;
    empty.hidden = true;
    drop.classList.add("full");
    look(blob);
  };
  picture.addEventListener("error", () => {
    picture.hidden = true;
    empty.hidden = false;
    drop.classList.remove("full");
  });

  file.addEventListener("change", () => {
    if (file.files[0]) take(file.files[0]);
    file.value = "";
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const dropped = event.dataTransfer.files[0];
    if (dropped) take(dropped);
    else fail("That is no file. Save the picture first, then drop it.");
  });
  addEventListener("paste", (event) => {
    const pasted = [...event.clipboardData.files][0];
    if (pasted) take(pasted);
  });

  function stop() {
    if (!stream) return;
    for (const track of stream.getTracks()) track.stop();
    stream = null;
    video.srcObject = null;
    video.hidden = true;
    camera.textContent = "Use the webcam";
    camera.classList.remove("on");
    if (picture.hidden) {
      empty.hidden = false;
      drop.classList.remove("full");
    }
  }
  const canvas = document.createElement("canvas");
  const watch = async () => {
    while (stream) {
      if (video.videoWidth) {
        canvas.width = video.videoWidth;
        canvas.height = video.videoHeight;
        canvas.getContext("2d").drawImage(video, 0, 0);
        const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
        if (stream && blob) await look(blob);
      }
      await new Promise((done) => setTimeout(done, 150));
    }
  };
  camera.addEventListener("click", async () => {
    if (stream) {
      stop();
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: false });
    } catch (error) {
      fail(`The webcam cannot be used: ${error.message}.`);
      return;
    }
    video.srcObject = stream;
    video.hidden = false;
    picture.hidden = true;
    empty.hidden = true;
    drop.classList.add("full");
    camera.textContent = "Stop the webcam";
    camera.classList.add("on");
    await video.play();
    watch();
  });
})();
