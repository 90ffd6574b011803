// Sliders with numbers: each holds a value in units of the solid's modulus, or none.

// Of sliders the low end, where most cells are, has more room than the high one.
const square = most => ({to: t => most * t * Math.abs(t),
  from: v => Math.sign(v) * Math.sqrt(Math.abs(v) / most)});
const linear = {to: t => t, from: v => v};
const log = {to: t => 10 ** t, from: v => Math.log10(Math.max(v, 1e-3))};

export const QUANTITIES = {
  C11: {name: "C11", stiff: true, start: .11, range: [.02, 1], scale: square(1.3)},
  C12: {name: "C12", stiff: true, start: .045, range: [-.5, 1], scale: square(.55)},
  C44: {name: "C44", stiff: true, start: .04, range: [.02, 1], scale: square(.38)},
  E: {name: "E", stiff: true, start: .0839, range: [.02, 1], scale: square(1)},
  nu: {name: "ν", start: .29, range: [-.9, .49], scale: linear},
  zener: {name: "Zener", start: 1.23, range: [-1.3, 1.3], scale: log},
  V: {name: "V", start: .3, range: [.02, .98], scale: linear},
};

export const short = value => value === 0 ? "0" : String(+value.toPrecision(4));

export function makeField(key, {canBeFree, onchange}) {
  const {name, stiff, start, range, scale} = QUANTITIES[key];
  const row = document.createElement("div");
  row.className = "row";
  row.innerHTML = `<label for="n_${key}">${name}</label>
    <input type="range" step="any" aria-label="${name}, slider">
    <input type="number" id="n_${key}" step="any">
    ${canBeFree ? '<label class="free"><input type="checkbox"> free</label>' : ""}`;
  const [slider, number, free] = row.querySelectorAll("input");
  [slider.min, slider.max] = range;
  let value = start, factor = 1;
  const show = () => {
    slider.value = scale.from(value);
    number.value = short(value * factor);
  };
  slider.addEventListener("input", () => {
    value = scale.to(+slider.value); number.value = short(value * factor); onchange();
  });
  number.addEventListener("input", () => {
    if (!Number.isFinite(number.valueAsNumber)) return;
    value = number.valueAsNumber / factor; slider.value = scale.from(value); onchange();
  });
  free?.addEventListener("change", () => {
    slider.disabled = number.disabled = free.checked; onchange();
  });
  show();
  return {
    row, key,
    get value() { return free?.checked ? null : value; },
    // As typed, in units of the solid's modulus as given.
    get text() { return free?.checked ? null : short(value * factor); },
    set(next) {
      if (next === null || next === undefined || !Number.isFinite(next)) return;
      value = next; show();
    },
    setFree(on) {
      if (!free) return;
      free.checked = slider.disabled = number.disabled = on;
    },
    rebase(modulus) { factor = stiff ? modulus : 1; show(); },
  };
}
