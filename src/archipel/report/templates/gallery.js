const source = document.getElementById("gallery-data");
if (source) {
  const data = JSON.parse(source.textContent);
  const at = (id) => document.getElementById(id);
  const buttons = [...document.querySelectorAll(".gallery button")];
  const names = [...new Set(data.choices.flatMap((choice) => choice.options))];
  const number = new Map(names.map((name, i) => [name, i]));
  const colour = (name) => `var(--o${number.get(name) % 8})`;
  const numbered = names.length > 8;
  const starts = data.choices.reduce((sum, choice) => [...sum, sum[sum.length - 1] + choice.options.length], [0]);
  const format = (ms) => `${Number(ms.toPrecision(3))} ms`;
  const signed = (share) => {
    const whole = Math.round(100 * share);
    return `${whole > 0 ? "+" : whole < 0 ? "\u2212" : "\u00b1"}${Math.abs(whole)} %`;
  };
  let variant = data.shown, current = 0, before = null;

  const element = (name, attributes, text) => {
    const made = document.createElementNS(document.querySelector("#theme svg").namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const titled = (made, text) => { made.append(element("title", {}, text)); return made; };

  // Which nodes a code runs in column c: the active ones, else the default if it is an option, else none (a bypass).
  const running = (code, c) => {
    const { options, empty } = data.choices[c];
    const on = options.map((_, o) => o).filter((o) => code[starts[c] + o] === "1");
    if (on.length) return { nodes: on, style: "" };
    const fallback = options.indexOf(empty);
    return fallback >= 0 ? { nodes: [fallback], style: " default" } : { nodes: [], style: " bypass" };
  };

  const draw = ({ still = false } = {}) => {
    const box = at("drawing");
    const row = data.variants[variant].rows[current];
    const code = row === null ? null : data.codes[row[3]];
    const columns = data.choices.length;
    const most = Math.max(...data.choices.map((choice) => choice.options.length));
    const step = Math.min(Math.max((box.clientWidth - 78) / columns, 54), 130);
    const gap = numbered ? 26 : 24, top = 22, foot = 26, side = 38;
    const height = top + foot + gap * most, middle = top + gap * most / 2;
    const width = 2 * side + step * columns;
    const x = (c) => side + step * c;
    const y = (c, o) => middle + (o - (data.choices[c].options.length - 1) / 2) * gap;
    const curve = (c, o) => {
      const a = x(c), m = a + step / 2, b = a + step, h = y(c, o), k = step / 4;
      return `M${a} ${middle}C${a + k} ${middle} ${m - k} ${h} ${m} ${h}S${b - k} ${middle} ${b} ${middle}`;
    };
    const svg = element("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", class: still ? "still" : "" });
    const spoken = [];
    const paths = (one, kind) => data.choices.forEach((choice, c) => {
      const { nodes, style } = running(one, c);
      const layer = `--layer:${c}`;
      for (const o of nodes) svg.append(element("path", { d: curve(c, o), class: kind + style, style: layer }));
      if (!nodes.length) svg.append(element("path", { d: `M${x(c)} ${middle}H${x(c + 1)}`, class: kind + style, style: layer }));
      if (kind === "now") spoken.push(`${choice.name}: ${nodes.length ? nodes.map((o) => choice.options[o]).join(" and ") + (style ? " by default" : "") : "bypass"}`);
    });
    if (before !== null) paths(before, "before");
    if (code !== null) paths(code, "now");
    data.choices.forEach((choice, c) => {
      choice.options.forEach((option, o) => {
        const on = code !== null && code[starts[c] + o] === "1";
        const fill = on ? `--layer:${c};fill:${colour(option)}` : `--layer:${c}`;
        const node = element("circle", { cx: x(c) + step / 2, cy: y(c, o), r: numbered ? 8 : on ? 6 : 4, class: on ? "node on" : "node", style: fill });
        svg.append(titled(node, `${choice.name}: ${option}${on ? ", active" : ""}`));
        if (numbered) svg.append(element("text", { x: x(c) + step / 2, y: y(c, o) + 3, class: "number" }, String(number.get(option) + 1)));
      });
      const short = choice.name.length * 6 > step ? choice.name.slice(0, Math.max(Math.floor(step / 6) - 1, 2)) + "\u2026" : choice.name;
      svg.append(titled(element("text", { x: x(c) + step / 2, y: height - 9, "text-anchor": "middle" }, short), choice.name));
    });
    for (let c = 0; c <= columns; c += 1) svg.append(element("circle", { cx: x(c), cy: middle, r: 2.6, class: "joint" }));
    svg.append(element("text", { x: side - 8, y: middle + 4, "text-anchor": "end" }, "in"));
    svg.append(element("text", { x: width - side + 8, y: middle + 4 }, "out"));
    svg.setAttribute("aria-label", spoken.join("; "));
    box.replaceChildren(svg);
  };

  const say = () => {
    const { mean, low, high, rows } = data.variants[variant];
    const row = rows[current];
    at("v-class").textContent = data.images[current];
    at("picked-image").src = buttons[current].firstElementChild.src;
    at("picked-image").alt = buttons[current].getAttribute("aria-label");
    if (row === null) {
      for (const id of ["v-predicted", "v-latency", "v-active"]) at(id).textContent = "not kept";
      return;
    }
    const [predicted, correct, ms, key] = row;
    at("v-predicted").textContent = `${predicted} ${correct ? "\u2713" : "\u2717 wrong"}`;
    at("v-latency").textContent = `${format(ms)} (${signed(ms / mean - 1)})`;
    at("v-active").textContent = `${[...data.codes[key]].filter((bit) => bit === "1").length} of ${data.codes[key].length}`;
    const place = (value) => `${high > low ? 100 * (value - low) / (high - low) : 50}%`;
    at("v-now").style.left = place(ms);
    at("v-mean").style.left = place(mean);
  };

  const show = (next, { focus = false } = {}) => {
    const old = data.variants[variant].rows[current];
    before = next.variant === variant && next.current === current ? null : old && data.codes[old[3]];
    buttons[current].setAttribute("aria-pressed", "false");
    buttons[current].tabIndex = -1;
    ({ variant, current } = next);
    buttons[current].setAttribute("aria-pressed", "true");
    buttons[current].tabIndex = 0;
    if (focus) buttons[current].focus();
    say();
    draw();
  };

  const columnsOfGallery = () => buttons.filter((button) => button.offsetTop === buttons[0].offsetTop).length;
  document.querySelector(".gallery").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show({ variant, current: Number(button.dataset.i) });
  });
  document.querySelector(".gallery").addEventListener("keydown", (event) => {
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columnsOfGallery(), ArrowUp: -columnsOfGallery(), Home: -current, End: buttons.length - 1 - current };
    if (!(event.key in moves)) return;
    event.preventDefault();
    show({ variant, current: Math.min(Math.max(current + moves[event.key], 0), buttons.length - 1) }, { focus: true });
  });

  for (const name of Object.keys(data.variants)) {
    const label = document.createElement("label"), input = document.createElement("input"), text = document.createElement("span");
    input.type = "radio"; input.name = "variant"; input.checked = name === variant;
    input.addEventListener("change", () => show({ variant: name, current }));
    text.textContent = name;
    label.append(input, text);
    at("v-variants").append(label);
  }
  names.forEach((name, i) => {
    const item = document.createElement("li"), mark = element("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" });
    mark.append(element("circle", { cx: 6, cy: 6, r: 5, style: `fill:${colour(name)}` }));
    item.append(mark, numbered ? `${i + 1} ${name}` : name);
    at("v-legend").append(item);
  });
  at("viewer").hidden = false;
  show({ variant, current });
  let width = at("drawing").clientWidth;
  new ResizeObserver(() => {
    if (at("drawing").clientWidth === width) return;
    width = at("drawing").clientWidth;
    requestAnimationFrame(() => draw({ still: true }));
  }).observe(at("drawing"));
}
