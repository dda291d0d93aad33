"use strict";
const pictures = JSON.parse(document.getElementById("views").textContent);
const [picture, left, right, slider, stage, under, over] = [
  "picture", "left", "right", "slider", "stage", "under", "over",
].map((id) => document.getElementById(id));

function show() {
  const chosen = pictures[picture.value];
  for (const [image, choice, side] of [[under, left, "left"], [over, right, "right"]]) {
    const view = chosen.views[choice.value];
    image.src = view.address;
    image.alt = `${chosen.name}, ${view.name}, on the ${side}`;
  }
  stage.style.aspectRatio = `${chosen.width} / ${chosen.height}`;
}

function move() {
  stage.style.setProperty("--at", `${slider.value}%`);
  slider.setAttribute("aria-valuetext", `${slider.value} percent ${left.selectedOptions[0].text}`);
}

function drag(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  const box = stage.getBoundingClientRect();
  const share = (event.clientX - box.left) / box.width;
  slider.value = Math.round(100 * Math.min(Math.max(share, 0), 1));
  move();
}

const names = pictures[0].views.map((view) => view.name);
const student = names.findIndex((name) => name.startsWith("artifact: "));
left.value = 0;
right.value = student < 0 ? 1 : student;
for (const choice of [picture, left, right]) {
  choice.addEventListener("change", () => { show(); move(); });
}
slider.addEventListener("input", move);
stage.addEventListener("pointerdown", drag);
stage.addEventListener("pointermove", drag);
show();
move();
