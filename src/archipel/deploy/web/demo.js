// The page: what is under view, who decides, how long it may take; everything else follows from these three.
import { drawMap } from "./map.js";
import { answer, measuredMs, predictedMs, sessionOf } from "./model.js";
import { Unreadable, pixelsOf, prepared } from "./picture.js";

performance.mark("script");
const at = (id) => document.getElementById(id);
const data = await (await fetch(new URL("data.json", import.meta.url))).json();
const { inputs, images, classes } = data;
performance.mark("data");
sessionOf(data.models[0].points[data.models[0].first].file).then(() => performance.mark("network"), () => {}); // routing says why
const format = (ms) => `${Number(ms.toPrecision(3))} ms`;
const percent = (share) => `${(100 * share).toFixed(share > 0.0995 ? 0 : 1)} %`;
const sprite = new Image();
sprite.src = new URL(images.sprite, import.meta.url).href;
await sprite.decode();
const sheet = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
sheet.canvas.width = sprite.naturalWidth;
sheet.canvas.height = sprite.naturalHeight;
sheet.drawImage(sprite, 0, 0);
performance.mark("pictures");

// ---- what is under view -----------------------------------------------------------------------------------------

const pixelsAt = (i) => {
  const x = (i % images.columns) * inputs.size, y = Math.floor(i / images.columns) * inputs.size;
  return sheet.getImageData(x, y, inputs.size, inputs.size);
};
const ofGallery = (i) => ({ ...prepared(pixelsAt(i), inputs), said: `${classes[images.label[i]]}, test image ${images.index[i]}`, number: i });

const drawings = data.models.map((model) => architectureDrawing(model.choices));
const state = { model: 0, points: data.models.map((model) => model.first), image: ofGallery(0), before: null, code: null };
const model = () => data.models[state.model];
const point = () => model().points[state.points[state.model]];

// ---- what is said of it -----------------------------------------------------------------------------------------

const nameOf = (own, code) => own.names[own.codes.indexOf(code)] ?? `${[...code].filter((bit) => bit === "1").length} of ${code.length} options`;
const limits = (own) => [Math.min(...own.range), Math.max(...own.range)];
const share = (own, ms) => { const [low, high] = limits(own); return high > low ? Math.min(1, Math.max(0, (ms - low) / (high - low))) : 0.5; };
const ramp = (part) => {
  const [from, to, mix] = part < 0.5 ? ["--r0", "--r1", 2 * part] : ["--r1", "--r2", 2 * part - 1];
  return `color-mix(in srgb, var(${to}) ${Math.round(100 * mix)}%, var(${from}))`;
};

function sayTop(probabilities) {
  const order = probabilities.map((p, i) => [p, i]).sort(([a], [b]) => b - a).slice(0, 5);
  at("top").replaceChildren(...order.map(([p, i]) => {
    const item = document.createElement("li"), name = document.createElement("span"), bar = document.createElement("i"), number = document.createElement("b");
    name.textContent = name.title = classes[i];
    bar.style.width = `${Math.max(0.5, 100 * p)}%`;
    number.textContent = percent(p);
    item.append(name, bar, number);
    return item;
  }));
}

function show(found, still) {
  const own = model(), ms = predictedMs(own, found.code);
  const changed = state.code !== null && state.code.model === state.model ? state.code.code : null;
  if (!still) state.before = changed;
  state.code = { model: state.model, code: found.code };
  const canvas = at("shown");
  canvas.width = canvas.height = inputs.size;
  canvas.getContext("2d").putImageData(state.image.shown, 0, 0);
  sayTop(found.probabilities);
  at("what").textContent = state.image.said;
  at("architecture").textContent = nameOf(own, found.code);
  at("predicted").textContent = format(ms);
  at("now").style.left = `${100 * share(own, ms)}%`;
  at("mean").style.left = `${100 * share(own, point().ms)}%`;
  drawings[state.model].draw(at("drawing"), found.code, state.before, { still });
  if (own.map) drawMap(at("map"), own.map, found.vector, ramp);
}

// ---- routing: one at a time, the newest wish wins ---------------------------------------------------------------

let busy = null, wanted = false;
function route({ still = false, timed = true } = {}) {
  wanted = true;
  busy ??= (async () => {
    let found = null;
    while (wanted) {
      wanted = false;
      const own = model(), image = state.image;
      try {
        found = await answer(own, point(), image.input, inputs);
      } catch (error) {
        at("status").hidden = false;
        at("status").textContent = `The network does not run in this browser: ${String(error.message ?? error).split("\n")[0]}`;
        break;
      }
      at("status").hidden = true;
      if (own !== model() || image !== state.image) continue;
      show(found, still);
      if (!document.body.dataset.ready) performance.mark("ready");
      document.body.dataset.ready = "yes";
      if (timed) {
        const ms = await measuredMs(found.again);
        if (!wanted) at("measured").textContent = format(ms);
      }
    }
    busy = null;
  })();
  return busy;
}

// ---- gallery ----------------------------------------------------------------------------------------------------

let thumbs = [];
const thumbOf = (i) => {
  const button = document.createElement("button"), canvas = document.createElement("canvas");
  canvas.width = canvas.height = inputs.size;
  canvas.getContext("2d").putImageData(pixelsAt(i), 0, 0);
  button.type = "button";
  button.setAttribute("aria-label", `${classes[images.label[i]]}, test image ${images.index[i]}`);
  button.append(canvas);
  button.addEventListener("click", () => pick(i));
  return button;
};

function group() {
  const own = model(), taken = new Map();
  point().children.forEach((child, i) => taken.set(child, [...(taken.get(child) ?? []), i]));
  const ordered = [...taken].map(([child, members]) => [child, members, predictedMs(own, own.codes[child])]).sort(([, , a], [, , b]) => a - b);
  at("groups-said").textContent = `${images.label.length} test images of the run under ${ordered.length} architecture${ordered.length > 1 ? "s" : ""}, fast to slow; arrow keys move from one to the next.`;
  const shown = [], alone = ordered.filter(([, members]) => members.length === 1);
  const boxes = ordered.map(([child, members, ms]) => [own.names[child], members, format(ms)]);
  if (alone.length > 3) { // a row for each would be a page of its own
    const [fast, slow] = [alone[0][2], alone.at(-1)[2]].map(format), members = alone.flatMap(([, [i]]) => i);
    boxes.splice(0, boxes.length, ...boxes.filter(([, { length }]) => length > 1), [`${alone.length} architectures of one image each`, members, `${fast} to ${slow}`]);
  }
  at("gallery").replaceChildren(...boxes.map(([name, members, times], k) => {
    const box = document.createElement("details"), head = document.createElement("summary"), small = document.createElement("small"), list = document.createElement("div");
    box.open = k < 8 || k === boxes.length - 1;
    head.textContent = name ?? `architecture ${k + 1}`;
    small.textContent = `${members.length} image${members.length > 1 ? "s" : ""}, ${times}`;
    head.append(small);
    list.className = "thumbs";
    for (const i of members) { thumbs[i] ??= thumbOf(i); list.append(thumbs[i]); shown.push(i); }
    box.append(head, list);
    return box;
  }));
  order = shown;
  mark();
}

let order = [];
function mark() {
  thumbs.forEach((button, i) => {
    const on = state.image.number === i;
    button.setAttribute("aria-pressed", String(on));
    button.tabIndex = on || (state.image.number === undefined && i === order[0]) ? 0 : -1;
  });
}

function pick(i) {
  stopCamera();
  fault(null);
  state.image = ofGallery(i);
  mark();
  return route();
}

at("gallery").addEventListener("keydown", (event) => {
  const here = order.indexOf(thumbs.indexOf(document.activeElement));
  const moves = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: order.length - 1 };
  if (here < 0 || !(event.key in moves)) return;
  event.preventDefault();
  const next = order[Math.min(order.length - 1, Math.max(0, moves[event.key]))];
  thumbs[next].closest("details").open = true;
  pick(next);
  thumbs[next].focus();
});

// ---- one's own pictures -----------------------------------------------------------------------------------------

function fault(text) {
  at("fault").hidden = text === null;
  at("fault").textContent = text ?? "";
}

async function take(file, name) {
  try {
    state.image = { ...prepared(await pixelsOf(file), inputs), said: name };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return fault(error.message);
  }
  fault(null);
  mark();
  return route();
}

at("upload").addEventListener("change", async () => {
  const [file] = at("upload").files;
  if (!file) return;
  stopCamera();
  await take(file, file.name);
  at("upload").value = "";
});
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    const [file] = kind === "drop" ? event.dataTransfer.files : [];
    if (file) { stopCamera(); take(file, file.name); }
  });
}

let stream = null;
function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  at("camera").setAttribute("aria-pressed", "false");
}
at("camera").setAttribute("aria-pressed", "false");
at("camera").addEventListener("click", async () => {
  if (stream) return stopCamera();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    return fault("There is no camera, or this page may not use it (browsers allow it on https and on localhost).");
  }
  fault(null);
  at("camera").setAttribute("aria-pressed", "true");
  const video = at("video");
  video.srcObject = stream;
  await video.play();
  while (stream) {
    state.image = { ...prepared(await pixelsOf(video), inputs), said: "camera" };
    mark();
    await route({ timed: false });
    await new Promise((done) => setTimeout(done, 200));
  }
});

// ---- who decides, and how long it may take ----------------------------------------------------------------------

function sayPoint() {
  const slider = at("target"), { ms, accuracy, name } = point();
  slider.max = String(model().points.length - 1);
  slider.value = String(state.points[state.model]);
  slider.disabled = model().points.length < 2;
  const told = `${format(ms)} an image${accuracy === null ? "" : `, ${percent(accuracy)} right`}${name ? ` (${name})` : ""}`;
  at("target-said").textContent = told;
  slider.setAttribute("aria-valuetext", told);
}

function changed({ still = false } = {}) {
  sayPoint();
  group();
  return route({ still });
}

at("target").addEventListener("input", () => {
  state.points[state.model] = Number(at("target").value);
  changed();
});

data.models.forEach((own, i) => {
  const label = document.createElement("label"), input = document.createElement("input"), text = document.createElement("span");
  input.type = "radio";
  input.name = "model";
  input.checked = i === state.model;
  input.addEventListener("change", () => { state.model = i; state.before = null; settle(); });
  text.textContent = own.label;
  label.append(input, text);
  at("models").append(label);
});

// The other networks, this family's first, one after the other while nothing else happens: no move waits for them.
const begun = new Set();
const idly = globalThis.requestIdleCallback ?? setTimeout;
function makeReady() {
  const files = [model(), ...data.models].flatMap(({ points }) => points.map(({ file }) => file));
  const next = files.find((file) => !begun.has(file));
  if (next === undefined) return;
  begun.add(next);
  idly(() => sessionOf(next).catch(() => {}).then(makeReady)); // where it fails, routing says so
}

function settle() {
  drawings[state.model].legend(at("legend"));
  at("map-section").hidden = model().map === null;
  at("map-said").textContent = model().map?.said ?? "";
  [at("fast").textContent, at("slow").textContent] = limits(model()).map(format);
  return changed().then(makeReady);
}

let width = at("drawing").clientWidth;
new ResizeObserver(() => {
  if (at("drawing").clientWidth === width || state.code === null) return;
  width = at("drawing").clientWidth;
  requestAnimationFrame(() => drawings[state.model].draw(at("drawing"), state.code.code, state.before, { still: true }));
}).observe(at("drawing"));

// What tests ask: the answer to one gallery image at one point, what the page says of a file, and what it makes of it.
window.archipel = {
  data,
  take,
  pixels: async (file) => [...prepared(await pixelsOf(file), inputs).shown.data],
  answer: (m, p, i) => answer(data.models[m], data.models[m].points[p], prepared(pixelsAt(i), inputs).input, inputs),
};
await settle();
