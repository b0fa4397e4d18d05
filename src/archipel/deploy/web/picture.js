// Any picture as the numbers a network was trained on: as archipel.tasks.decoding does it, step by step.

// What is shown when a file is no picture; the page says nothing more technical.
export class Unreadable extends Error {}

const LARGEST = 4096; // a side beyond which a browser first draws the picture smaller: a canvas has its limits
const BYTES = 50e6;

// A file, blob or video frame -> {data, width, height}: its pixels, turned as it says, transparency laid on white.
export async function pixelsOf(source) {
  if (source instanceof Blob) {
    if (!source.size) throw new Unreadable("The file is empty.");
    if (source.size > BYTES) throw new Unreadable(`The file has ${Math.round(source.size / 1e6)} MB; give a picture of at most ${BYTES / 1e6}.`);
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(source, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Unreadable(`${source.name ?? "That"} is no picture that this browser can read.`);
  }
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale)), height = Math.max(1, Math.round(bitmap.height * scale));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

// RGBA -> planes of one channel or three, 0 to 255: grey by the weights of ITU-R 601, as Pillow rounds them.
function planes({ data, width, height }, channels) {
  const found = Array.from({ length: channels }, () => new Uint8Array(width * height));
  const count = width * height;
  if (channels === 1) {
    for (let i = 0, k = 0; i < count; i += 1, k += 4) {
      found[0][i] = (19595 * data[k] + 38470 * data[k + 1] + 7471 * data[k + 2] + 0x8000) >> 16;
    }
    return found;
  }
  for (let c = 0; c < channels; c += 1) {
    for (let i = 0, k = c; i < count; i += 1, k += 4) found[c][i] = data[k];
  }
  return found;
}

// Of each output place: the first input place and the weights of a triangle as wide as one output pixel.
function triangle(from, begin, length, count) {
  const scale = length / count, support = Math.max(scale, 1);
  return Array.from({ length: count }, (_, i) => {
    const centre = begin + (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5)), last = Math.min(from, Math.floor(centre + support + 0.5));
    const weights = [];
    for (let j = first; j < last; j += 1) weights.push(Math.max(0, 1 - Math.abs((j - centre + 0.5) / support)));
    const sum = weights.reduce((a, b) => a + b, 0);
    return [first, weights.map((weight) => weight / sum)];
  });
}

const byte = (value) => Math.min(255, Math.max(0, Math.round(value)));

// The largest centred square, scaled to size x size: bilinear, antialiased, rounded to bytes after each direction.
function squared(plane, width, height, size) {
  if (width === size && height === size) return plane;
  const side = Math.min(width, height);
  const across = triangle(width, (width - side) / 2, side, size), down = triangle(height, (height - side) / 2, side, size);
  const narrow = new Uint8Array(size * height), small = new Uint8Array(size * size);
  const mixed = (from, first, stride, weights) => {
    let sum = 0;
    for (let k = 0, i = first; k < weights.length; k += 1, i += stride) sum += weights[k] * from[i];
    return byte(sum);
  };
  for (let y = 0; y < height; y += 1) {
    across.forEach(([first, weights], x) => { narrow[y * size + x] = mixed(plane, y * width + first, 1, weights); });
  }
  down.forEach(([first, weights], y) => {
    for (let x = 0; x < size; x += 1) small[y * size + x] = mixed(narrow, first * size + x, size, weights);
  });
  return small;
}

// Pixels -> {input: Float32Array [C, S, S], shown: ImageData}: what the network is given, and how that looks.
export function prepared(pixels, { channels, size, mean, std }) {
  const small = planes(pixels, channels).map((plane) => squared(plane, pixels.width, pixels.height, size));
  const input = new Float32Array(channels * size * size);
  const shown = new ImageData(size, size);
  small.forEach((plane, c) => {
    const middle = Math.fround(mean[c]), scale = Math.fround(1 / Math.fround(std[c]));
    plane.forEach((value, i) => { input[c * size * size + i] = Math.fround(value - middle) * scale; });
  });
  for (let i = 0; i < size * size; i += 1) {
    for (let c = 0; c < 3; c += 1) shown.data[4 * i + c] = small[channels === 1 ? 0 : c][i];
    shown.data[4 * i + 3] = 255;
  }
  return { input, shown };
}
