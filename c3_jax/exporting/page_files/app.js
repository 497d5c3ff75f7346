// The page: images and the camera in, landmarks over them, files out.

import { detect, load, seen } from "./model.js";
import { coco, csv } from "./tables.js";

const SHOWN = 480; // Longer side of a drawing, in pixels.
const MOST = 200; // Results that are drawn.
const at = (id) => document.getElementById(id);
const results = [];
let model = null;
let camera = null;
let frame = 0;

function say(text, error = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", error);
}

const colour = (i, k) => `hsl(${(360 * i) / k} 90% 60%)`;

function draw(canvas, source, found) {
  const { width, height } = source;
  const scale = SHOWN / Math.max(width, height);
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  context.setLineDash([6, 4]);
  context.strokeStyle = "#fffa";
  const box = seen(model.about, width, height).map((x) => x * scale);
  context.strokeRect(...box);
  context.setLineDash([]);
  const radius = Math.max(3, Math.max(canvas.width, canvas.height) / 80);
  context.font = `${Math.max(11, 3 * radius)}px sans-serif`;
  found.points.forEach(([x, y], i) => {
    const [cx, cy] = [(x + 0.5) * scale, (y + 0.5) * scale];
    context.globalAlpha = 0.25 + 0.75 * found.confidence[i];
    context.beginPath();
    context.arc(cx, cy, radius, 0, 2 * Math.PI);
    context.fillStyle = colour(i, model.about.k);
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = "#000";
    context.stroke();
    context.globalAlpha = 1;
    context.lineWidth = 3;
    context.strokeText(i + 1, cx + radius, cy - radius / 2);
    context.fillStyle = "#fff";
    context.fillText(i + 1, cx + radius, cy - radius / 2);
  });
  context.globalAlpha = 1;
}

function cell(row, text, kind = "td") {
  const element = document.createElement(kind);
  element.textContent = text;
  row.append(element);
}

function table({ points, confidence }) {
  const element = document.createElement("table");
  const head = element.createTHead().insertRow();
  ["", "x", "y", "confidence"].forEach((text) => cell(head, text, "th"));
  const body = element.createTBody();
  points.forEach(([x, y], i) => {
    const row = body.insertRow();
    cell(row, i + 1, "th");
    [x.toFixed(1), y.toFixed(1), confidence[i].toFixed(2)].forEach((text) =>
      cell(row, text),
    );
  });
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "numbers";
  details.append(summary, element);
  return details;
}

function show(name, source, found) {
  const { width, height } = source;
  const figure = document.createElement("figure");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${name} with ${model.about.k} landmarks`);
  const caption = document.createElement("figcaption");
  const mean = found.confidence.reduce((a, b) => a + b) / model.about.k;
  caption.textContent =
    `${name}, ${width} x ${height}, mean confidence ${mean.toFixed(2)}`;
  figure.append(canvas, caption, table(found));
  draw(canvas, source, found);
  // Drawings of thousands would fill the memory; numbers are small.
  if (results.length < MOST) at("results").append(figure);
  at("downloads").hidden = false;
  results.push({ name, width, height, ...found });
}

function showError(name) {
  const line = document.createElement("p");
  line.className = "error";
  line.textContent = `${name} cannot be read as an image.`;
  at("results").append(line);
}

// The pixels of a file, upright, without a change of their colours.
async function decode(file) {
  const bitmap = await createImageBitmap(file, {
    colorSpaceConversion: "none",
  });
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

// One after another, also where more come meanwhile.
let queue = Promise.resolve();
function add(files) {
  queue = queue.then(async () => {
    const start = performance.now();
    let [done, failed] = [0, 0];
    for (const file of files) {
      let canvas = null;
      try {
        canvas = await decode(file);
      } catch {
        showError(file.name);
        failed += 1;
        continue;
      }
      show(file.name, canvas, await detect(model, canvas));
      done += 1;
      say(`${done + failed} of ${files.length} images`);
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    const left = failed ? `, ${failed} cannot be read` : "";
    say(`${done} images in ${seconds} s${left}.`, failed > 0);
  }).catch((error) => say(`The model failed: ${error.message}`, true));
}

async function look(video) {
  const canvas = document.createElement("canvas");
  let found = null;
  at("keep").onclick = () => {
    if (found) show(`camera_${(frame += 1)}.png`, canvas, found);
  };
  let [start, frames] = [performance.now(), 0];
  while (camera && video.srcObject === camera) {
    if (!video.videoWidth) {
      await new Promise(requestAnimationFrame);
      continue;
    }
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0);
    found = await detect(model, canvas);
    draw(at("preview"), canvas, found);
    frames += 1;
    const seconds = (performance.now() - start) / 1000;
    if (seconds > 1) {
      say(`Camera: ${(frames / seconds).toFixed(0)} frames a second.`);
      [start, frames] = [performance.now(), 0];
    }
    await new Promise(requestAnimationFrame);
  }
}

function stop() {
  camera?.getTracks().forEach((track) => track.stop());
  camera = null;
  at("live").hidden = at("keep").hidden = true;
  at("camera").textContent = "Open camera";
}

async function toggle() {
  if (camera) {
    stop();
    say("The camera is off.");
    return;
  }
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch (error) {
    say(`The camera cannot be opened: ${error.message}`, true);
    return;
  }
  const video = document.createElement("video");
  video.muted = video.playsInline = true;
  video.srcObject = camera;
  await video.play();
  at("live").hidden = at("keep").hidden = false;
  at("camera").textContent = "Close camera (Esc)";
  look(video).catch((error) => {
    stop();
    say(`The model failed: ${error.message}`, true);
  });
}

function download(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function listen() {
  at("files").addEventListener("change", (event) => {
    add([...event.target.files]);
    event.target.value = ""; // So that the same file can be chosen again.
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  addEventListener("dragleave", () => document.body.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    add([...event.dataTransfer.files]);
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && camera) toggle();
  });
  at("camera").addEventListener("click", toggle);
  at("csv").addEventListener("click", () =>
    download("landmarks.csv", csv(results), "text/csv"),
  );
  at("coco").addEventListener("click", () =>
    download("landmarks.json", coco(results), "application/json"),
  );
  at("clear").addEventListener("click", () => {
    results.length = 0;
    at("results").replaceChildren();
    at("downloads").hidden = true;
    say("Cleared.");
  });
}

try {
  model = await load();
  const { about } = model;
  at("about").textContent =
    `${about.k} landmarks, learned without annotations from ` +
    `${about.dataset} images.`;
  listen();
  at("files").disabled = at("camera").disabled = false;
  say("Ready.");
} catch (error) {
  say(`The model cannot be loaded: ${error.message}`, true);
}
