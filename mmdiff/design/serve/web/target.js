// The form for what is asked: three ways to say it, checked by the server as it changes.

import {post} from "/static/api.js";
import {makeField, short} from "/static/fields.js";

const $ = id => document.getElementById(id);
const MODES = {constants: ["C11", "C12", "C44"], moduli: ["E", "nu", "zener"]};
const NUMBERS = ["cell_size_mm", "min_wall_mm", "min_gap_mm", "num_best", "num_samples",
  "seed", "base.E", "base.nu"];
const CHECKS = ["drainable", "project_cubic", "allow_infeasible"];
const OF_TARGET = ["target", "vf", "project_cubic", "allow_infeasible", "base.E",
  "base.nu"];

export function makeTarget(onchange) {
  let mode = "constants", last = {quantities: {}}, waiting, running;
  const fields = {};
  for (const [name, keys] of Object.entries(MODES))
    for (const key of keys) {
      fields[key] = makeField(key, {canBeFree: name == "moduli", onchange: changed});
      $("fields").append(fields[key].row);
    }
  fields.V = makeField("V", {canBeFree: true, onchange: changed});
  $("volume").append(fields.V.row);
  const modulus = () => $("base.E").valueAsNumber || 1;

  function showMode() {
    for (const [name, keys] of Object.entries(MODES))
      for (const key of keys) fields[key].row.hidden = name != mode;
    $("pasted").hidden = mode != "tensor";
  }
  function text() {
    if (mode == "tensor") return $("tensor").value;
    const keys = MODES[mode].filter(key => fields[key].text !== null);
    return mode == "constants" ? keys.map(key => fields[key].text).join(",")
      : keys.map(key => `${key}=${fields[key].text}`).join(",");
  }
  function settings() {  // what the server takes; what is empty is left to it
    const values = {target: text(), vf: fields.V.value === null ? 0 : +fields.V.text};
    for (const id of NUMBERS)
      if ($(id).value !== "") values[id] = $(id).valueAsNumber;
    for (const id of CHECKS) values[id] = $(id).checked;
    return values;
  }
  function changed() {
    clearTimeout(waiting);
    onchange(here());
    waiting = setTimeout(check, 150);
  }
  function here() {  // quantities in units of the solid's modulus, as far as known
    const found = {...last.quantities};
    if (mode != "tensor")
      for (const key of MODES[mode]) found[key] = fields[key].value;
    found.V = fields.V.value ?? (mode == "tensor" ? found.V : null);
    return found;
  }
  async function check() {
    running?.abort(); running = new AbortController();
    const values = settings();
    const part = Object.fromEntries(OF_TARGET.filter(key => key in values)
      .map(key => [key, values[key]]));
    try {
      last = await post("/api/check", part, {signal: running.signal});
    } catch (error) {
      if (error.name == "AbortError") return;
      last = {ok: false, message: error.message, quantities: {}};
    }
    say(); onchange(here());
  }
  function say() {
    const {ok, message, distance, quantities} = last;
    $("verdict").className = ok ? "good" : "bad";
    $("verdict").textContent = !ok ? message : distance < .01
      ? "Cells like this are known."
      : `Possible; the nearest known cell is ${(100 * distance).toFixed(1)} % away.`;
    const stiff = ["C11", "C12", "C44", "K", "G", "E"];
    $("follows").replaceChildren(...[...stiff, "nu", "zener"].map(key => {
      const value = quantities[key], item = document.createElement("div");
      const scaled = stiff.includes(key) ? value * modulus() : value;
      const shown = value === null || value === undefined ? "free" : short(scaled);
      item.innerHTML = `<dt>${key == "nu" ? "ν" : key == "zener" ? "Zener" : key}</dt>
        <dd>${shown}</dd>`;
      return item;
    }));
  }
  function setMode(next) {
    // The other sliders go on from what was asked with these.
    const known = {...last.quantities};
    mode = next;
    document.querySelector(`input[name=mode][value=${mode}]`).checked = true;
    for (const key of MODES[mode] || []) {
      fields[key].set(known[key]);
      fields[key].setFree(known[key] === null);
    }
    if (mode == "tensor" && !$("tensor").value.trim() && Number.isFinite(known.C44)) {
      const [a, b, c] = MODES.constants.map(key => short(known[key] * modulus()));
      $("tensor").value = [0, 1, 2, 3, 4, 5].map(i => [0, 1, 2, 3, 4, 5].map(
        j => i == j ? (i < 3 ? a : c) : i < 3 && j < 3 ? b : "0").join(" ")).join("\n");
    }
    showMode(); changed();
  }
  for (const radio of document.querySelectorAll("input[name=mode]"))
    radio.addEventListener("change", () => setMode(radio.value));
  $("tensor").addEventListener("input", changed);
  for (const id of [...CHECKS, ...NUMBERS]) $(id).addEventListener("input", changed);
  $("base.E").addEventListener("input", () => {
    for (const field of Object.values(fields)) field.rebase(modulus());
  });
  showMode();

  return {
    settings, here, check,
    message: () => last.ok === false ? last.message : "",
    canTake: key => key == "V" || (MODES[mode] || []).includes(key),
    take(values) {  // from a plot, in units of the solid's modulus
      for (const [key, value] of Object.entries(values))
        if (this.canTake(key)) { fields[key].setFree(false); fields[key].set(value); }
      changed();
    },
    takeTensor(tensor, volume) {
      $("tensor").value = tensor.map(row => row.map(x => short(x)).join(" ")).join("\n");
      if (volume) { fields.V.setFree(false); fields.V.set(volume); }
      setMode("tensor");
    },
    fill(values) {  // the settings of an earlier job
      for (const id of NUMBERS) if (id in values) $(id).value = values[id];
      for (const id of CHECKS) if (id in values) $(id).checked = values[id];
      for (const field of Object.values(fields)) field.rebase(modulus());
      fields.V.setFree(!values.vf); fields.V.set(values.vf || null);
      const numbers = values.target.split(/[\s,;]+/).map(Number);
      if (numbers.length == 3 && numbers.every(Number.isFinite)) {
        last = {quantities: Object.fromEntries(
          MODES.constants.map((key, i) => [key, numbers[i] / modulus()]))};
        setMode("constants");
      } else { $("tensor").value = values.target; setMode("tensor"); }
    },
  };
}
