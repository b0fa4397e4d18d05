// One family of a run's networks in this browser: the routed graph, its points, and what it says of an image.
import * as ort from "./ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1; // threads need headers that plain file servers do not send, and gain little here
ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

const sessions = new Map();

// The network of a file, read and made ready once; whoever calls this early does not wait for it later.
export function sessionOf(file) {
  if (!sessions.has(file)) {
    const made = ort.InferenceSession.create(new URL(file, import.meta.url).href, { executionProviders: ["wasm"], logSeverityLevel: 3 });
    made.catch(() => sessions.delete(file));
    sessions.set(file, made);
  }
  return sessions.get(file);
}

const softmax = (scores) => {
  const most = Math.max(...scores), parts = scores.map((z) => Math.exp(z - most));
  const sum = parts.reduce((a, b) => a + b, 0);
  return parts.map((part) => part / sum);
};

// Milliseconds on the device that the run measured, as its latency table predicts.
export function predictedMs(model, code) {
  if (model.form === "cascade") return model.costs[model.codes.indexOf(code)];
  return [...code].reduce((sum, bit, i) => sum + (bit === "1" ? model.columns[i] : 0), model.base);
}

// {probabilities, code, vector, again}: class probabilities, the architecture as bits, what places the image on the map,
// and a function that runs it once more, to be timed.
export async function answer(model, point, input, { channels, size }) {
  const session = await sessionOf(point.file);
  const feeds = { images: new ort.Tensor("float32", input, [1, channels, size, size]) };
  if (point.thresholds.length) feeds.thresholds = new ort.Tensor("float32", point.thresholds, [point.thresholds.length]);
  if (point.target_ms !== null) feeds.target_ms = new ort.Tensor("float32", [point.target_ms], [1]);
  const found = await session.run(feeds);
  const probabilities = softmax([...found.scores.data]);
  const cascade = model.form === "cascade";
  return {
    probabilities,
    code: cascade ? model.codes[Number(found.stage.data[0])] : [...found.codes.data].map((bit) => (bit ? "1" : "0")).join(""),
    vector: cascade ? probabilities : [...found.probabilities.data],
    again: () => session.run(feeds),
  };
}

// Milliseconds of one run here: the middle of several spells, each long enough for a browser's coarse clock.
export async function measuredMs(again) {
  const times = [];
  for (let i = 0; i < 5; i += 1) {
    const begin = performance.now();
    let runs = 0;
    do { await again(); runs += 1; } while (performance.now() - begin < 4);
    times.push((performance.now() - begin) / runs);
  }
  return times.sort((a, b) => a - b)[2];
}
