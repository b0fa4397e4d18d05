const source = document.getElementById("gallery-data");
if (source) {
  const data = JSON.parse(source.textContent);
  const at = (id) => document.getElementById(id);
  const buttons = [...document.querySelectorAll(".gallery button")];
  const picture = architectureDrawing(data.choices);
  const format = (ms) => `${Number(ms.toPrecision(3))} ms`;
  const signed = (share) => {
    const whole = Math.round(100 * share);
    return `${whole > 0 ? "+" : whole < 0 ? "\u2212" : "\u00b1"}${Math.abs(whole)} %`;
  };
  let variant = data.shown, current = 0, before = null;

  const draw = (options) => {
    const row = data.variants[variant].rows[current];
    picture.draw(at("drawing"), row === null ? null : data.codes[row[3]], before, options);
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
  picture.legend(at("v-legend"));
  at("viewer").hidden = false;
  show({ variant, current });
  let width = at("drawing").clientWidth;
  new ResizeObserver(() => {
    if (at("drawing").clientWidth === width) return;
    width = at("drawing").clientWidth;
    requestAnimationFrame(() => draw({ still: true }));
  }).observe(at("drawing"));
}
