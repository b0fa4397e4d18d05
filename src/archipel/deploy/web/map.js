// The map of test images, near where they are treated alike; the image under view is lit.

const element = (name, attributes) => {
  const made = document.createElementNS(document.querySelector("#theme svg").namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

// Where an image lies: between the images it is most like, nearer ones counting more.
function place({ xy, vectors }, vector) {
  const near = vectors
    .map((other, i) => [other.reduce((sum, value, k) => sum + (value - vector[k]) ** 2, 0), i])
    .sort(([a], [b]) => a - b)
    .slice(0, 5);
  if (near[0][0] < 1e-6) return xy[near[0][1]];
  const total = near.reduce((sum, [far]) => sum + 1 / far, 0);
  return [0, 1].map((axis) => near.reduce((sum, [far, i]) => sum + xy[i][axis] / far, 0) / total);
}

// The picture of a map, {svg, at, ring, lit}: its dots are drawn once, however often another image is lit.
// colour: of a share, 0 the fastest image of the map and 1 the slowest.
const pictures = new WeakMap();
function pictureOf(known, colour) {
  const size = 100, pad = 6;
  const spans = [0, 1].map((axis) => {
    const values = known.xy.map((spot) => spot[axis]);
    const low = Math.min(...values), high = Math.max(...values);
    return (value) => pad + (size - 2 * pad) * (high > low ? (value - low) / (high - low) : 0.5);
  });
  const at = ([x, y]) => ({ cx: spans[0](x).toFixed(2), cy: (size - spans[1](y)).toFixed(2) });
  const low = Math.min(...known.ms), high = Math.max(...known.ms);
  const svg = element("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": `Map of ${known.xy.length} test images; a ring marks the image under view` });
  known.xy.forEach((spot, i) => svg.append(element("circle", { ...at(spot), r: 0.9, style: `fill:${colour(high > low ? (known.ms[i] - low) / (high - low) : 0.5)}`, class: "dot" })));
  const ring = element("circle", { r: 3.4, class: "ring" }), lit = element("circle", { r: 1.5, class: "lit" });
  svg.append(ring, lit);
  return { svg, at, ring, lit };
}

export function drawMap(box, known, vector, colour) {
  if (!pictures.has(known)) pictures.set(known, pictureOf(known, colour));
  const { svg, at, ring, lit } = pictures.get(known), { cx, cy } = at(place(known, vector));
  for (const mark of [ring, lit]) {
    mark.setAttribute("cx", cx);
    mark.setAttribute("cy", cy);
  }
  if (box.firstChild !== svg) box.replaceChildren(svg);
}
