// An architecture as a picture: columns are choices, dots their options; the architecture before stands behind it.
// Of exits the columns end with the one that answers.
function architectureDrawing(choices) {
  const names = [...new Set(choices.flatMap((choice) => choice.options))];
  const number = new Map(names.map((name, i) => [name, i]));
  const colour = (name) => `var(--o${number.get(name) % 8})`;
  const numbered = names.length > 8;
  const starts = choices.reduce((sum, choice) => [...sum, sum[sum.length - 1] + choice.options.length], [0]);
  const element = (name, attributes, text) => {
    const made = document.createElementNS(document.querySelector("#theme svg").namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const titled = (made, text) => { made.append(element("title", {}, text)); return made; };

  // Which nodes a code runs in column c: the active ones, else the default if it is an option, else none (a bypass);
  // null where an exit before has answered.
  const running = (code, c) => {
    const { kind, options, empty } = choices[c];
    const on = options.map((_, o) => o).filter((o) => code[starts[c] + o] === "1");
    if (on.length) return { nodes: on, style: "" };
    if (kind === "exit") return null;
    const fallback = options.indexOf(empty);
    return fallback >= 0 ? { nodes: [fallback], style: " default" } : { nodes: [], style: " bypass" };
  };

  const draw = (box, code, before, { still = false } = {}) => {
    const columns = choices.length;
    const most = Math.max(...choices.map((choice) => choice.options.length));
    const step = Math.min(Math.max((box.clientWidth - 78) / columns, 54), 130);
    const gap = numbered ? 26 : 24, top = 22, foot = 26, side = 38;
    const height = top + foot + gap * most, middle = top + gap * most / 2;
    const width = 2 * side + step * columns;
    const x = (c) => side + step * c;
    const y = (c, o) => middle + (o - (choices[c].options.length - 1) / 2) * gap;
    const curve = (c, o) => {
      const a = x(c), m = a + step / 2, b = a + step, h = y(c, o), k = step / 4;
      return `M${a} ${middle}C${a + k} ${middle} ${m - k} ${h} ${m} ${h}S${b - k} ${middle} ${b} ${middle}`;
    };
    const svg = element("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", class: still ? "still" : "" });
    const spoken = [];
    const paths = (one, kind) => choices.forEach((choice, c) => {
      const taken = running(one, c);
      if (taken === null) return;
      const { nodes, style } = taken;
      const layer = `--layer:${c}`;
      for (const o of nodes) svg.append(element("path", { d: curve(c, o), class: kind + style, style: layer }));
      if (!nodes.length) svg.append(element("path", { d: `M${x(c)} ${middle}H${x(c + 1)}`, class: kind + style, style: layer }));
      if (kind === "now") spoken.push(`${choice.name}: ${nodes.length ? nodes.map((o) => choice.options[o]).join(" and ") + (style ? " by default" : "") : "bypass"}`);
    });
    if (before !== null) paths(before, "before");
    if (code !== null) paths(code, "now");
    choices.forEach((choice, c) => {
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

  const legend = (list) => list.replaceChildren(...names.map((name, i) => {
    const item = document.createElement("li"), mark = element("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" });
    mark.append(element("circle", { cx: 6, cy: 6, r: 5, style: `fill:${colour(name)}` }));
    item.append(mark, numbered ? `${i + 1} ${name}` : name);
    return item;
  }));

  return { draw, legend, element };
}
