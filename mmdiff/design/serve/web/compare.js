// Cells side by side: in 3D, as surfaces of Young's modulus, along a direction, in a
// table.

import {get} from "/static/api.js";
import {short} from "/static/fields.js";
import {colour, drawPolar, drawSurface, mesh} from "/static/surface.js";
import {cubic, inverse, unit, young} from "/static/tensor.js";
import {makeView} from "/static/view.js";

const $ = id => document.getElementById(id);
const MOST = 4;  // browsers keep few 3D canvases
const TONES = ["#2f62a3", "#d98e1f", "#2f8f6b", "#a34b9c"];
const THINNEST = .03;  // of the edge, the default limit
const FILES = {generate: ["stl", "3mf", "glb", "npy", "vti", "inp", "mac"],
  homogenize: ["solid.stl", "solid.3mf", "fields.vti", "tensor.txt", "material.inp",
    "material.mac"]};
const LABELS = {inp: "Abaqus card", mac: "Ansys card", "material.inp": "Abaqus card",
  "material.mac": "Ansys card", "solid.stl": "STL", "solid.3mf": "3MF",
  "fields.vti": "VTI", "tensor.txt": "tensor"};

export function makeCompare({ontarget, onchange}) {
  let entries = [], asked = null, look = {azimuth: 32, elevation: 28, zoom: 1};
  const slots = [];  // 3D canvases are made once and used again

  const options = () => ({tiles: +$("tiles").value, axis: $("axis").value,
    cut: +$("cut").value});
  function slot() {
    const free = slots.find(one => !one.entry);
    if (free) return free;
    const canvas = document.createElement("canvas");
    canvas.className = "view"; canvas.tabIndex = 0; canvas.setAttribute("role", "img");
    const one = {canvas, view: makeView(canvas), entry: null};
    if (one.view) one.view.onlook = next => {
      look = {...next};
      for (const other of slots) if (other != one) other.view?.look(look);
      entries.forEach(drawModulus);
    };
    slots.push(one);
    return one;
  }
  const key = (job, index) => `${job.id}/${index}`;
  const limitOf = ({job}) => {
    const {min_wall_mm: wall = 0, cell_size_mm: size} = job.settings;
    return wall ? wall / size : THINNEST;
  };
  async function paintWalls(entry) {
    const {view} = entry.slot, on = $("paint").checked;
    if (!view) return;
    if (!on) { view.set({thin: 0}); return; }
    try {
      entry.walls ??= await get(`/api/jobs/${entry.job.id}/walls/${entry.index}`);
    } catch { return; }
    if (entry.slot?.entry != entry || !$("paint").checked) return;
    const bytes = Uint8Array.from(atob(entry.walls.levels), char => char.charCodeAt(0));
    view.paint(bytes, entry.walls.shape);
    view.set({thin: entry.walls.most / limitOf(entry)});
  }
  function drawModulus(entry) {
    if (!entry.mesh) return;
    const most = Math.max(...entries.map(other => other.mesh?.most || 0));
    drawSurface(entry.modulus, entry.mesh, look, most);
  }
  function card(entry) {
    const {job, index, cell, tone} = entry, element = document.createElement("article");
    element.className = "card"; element.style.setProperty("--tone", tone);
    const title = `${entry.label}, job ${job.id}`;
    element.innerHTML = `<div class="head"><h3></h3>
      <label><input type="checkbox" class="keep"> keep</label>
      <button type="button" class="close">×</button></div><div class="place"></div>
      <p class="caption"></p><canvas class="modulus" role="img"></canvas>
      <p class="caption range"></p><div class="links"></div>`;
    element.querySelector("h3").textContent = title;
    const close = element.querySelector(".close");
    close.setAttribute("aria-label", `Remove ${title}`);
    close.addEventListener("click", () => toggle(entry));
    const keep = element.querySelector(".keep");
    keep.checked = entry.kept;
    keep.addEventListener("change", () => { entry.kept = keep.checked; });
    entry.slot = slot(); entry.slot.entry = entry;
    const {canvas, view} = entry.slot;
    canvas.setAttribute("aria-label", `${title} in 3D. Drag or arrow keys turn, wheel or `
      + "plus and minus keys zoom.");
    if (view) {
      element.querySelector(".place").append(canvas);
      if (cell.view) view.load(cell.view);
      view.set(options()); view.look(look); paintWalls(entry);
    } else element.querySelector(".place").textContent =
      "This browser offers no WebGL2, so the 3D view is off.";
    const printed = cell.printability || {};
    const known = [`V ${cell.volume.toFixed(3)}`,
      cell.error === undefined ? "" : `${(100 * cell.error).toFixed(2)} % off`,
      Number.isFinite(printed.wall) ? `walls ${printed.wall.toFixed(2)} mm` : "",
      Number.isFinite(printed.gap) ? `gaps ${printed.gap.toFixed(2)} mm` : ""];
    element.querySelector(".caption").textContent = known.filter(Boolean).join(" · ");
    entry.modulus = element.querySelector(".modulus");
    const range = element.querySelector(".range");
    if (entry.mesh) {
      const {least, most} = entry.mesh;
      range.textContent = `Young's modulus ${short(least)} to ${short(most)} by direction`;
      entry.modulus.setAttribute("aria-label", `${title}: ${range.textContent}`);
    } else range.textContent = "no stiffness along some direction";
    element.querySelector(".links").replaceChildren(...links(entry));
    return element;
  }
  function links({job, index, cell}) {
    const there = new Set((job.files || []).map(file => file.name));
    const stem = job.kind == "generate" ? (cell.file || "").replace(/\.npy$/, "") : "";
    const found = FILES[job.kind].map(kind => [kind, stem ? `${stem}.${kind}` : kind])
      .filter(([, name]) => there.has(name)).map(([kind, name]) => {
        const link = document.createElement("a");
        link.href = `/jobs/${job.id}/${name}`; link.download = "";
        link.textContent = LABELS[kind] || kind.toUpperCase();
        return link;
      });
    const use = document.createElement("button");
    use.type = "button"; use.textContent = "Ask for this tensor";
    use.addEventListener("click", () => ontarget(cell.C, cell.volume, job));
    return [...found, use];
  }
  function direction() {
    const numbers = $("direction").value.trim().split(/[\s,;]+/).map(Number);
    const fine = numbers.length == 3 && numbers.every(Number.isFinite)
      && Math.hypot(...numbers) > 0;
    $("direction").setAttribute("aria-invalid", String(!fine));
    return fine ? unit(numbers) : null;
  }
  function drawTable() {
    const along = direction(), text = $("direction").value.trim();
    const number = value => Number.isFinite(value) ? short(value) : "–";
    const column = (name, cell, compliance) => ({name, C11: cell.C11, C12: cell.C12,
      C44: cell.C44, K: cell.K, G: cell.G, "E along x": cell.E, "ν": cell.nu,
      Zener: cell.Zener, V: cell.volume,
      [`E along [${text}]`]: along && compliance ? young(compliance, along) : NaN,
      "error %": cell.error === undefined ? NaN : 100 * cell.error,
      "wall mm": cell.printability?.wall, "gap mm": cell.printability?.gap,
      "closed pores %": 100 * cell.printability?.trapped});
    const columns = entries.map(({label, job, cell, compliance}) =>
      column(`${label} (${job.id})`, cell, compliance));
    if (asked) columns.unshift(column(asked.name, asked.values, asked.compliance));
    const rows = Object.keys(columns[0] || {}).filter(name => name != "name");
    const head = document.createElement("tr"), table = $("table");
    head.append(...["", ...columns.map(({name}) => name)].map(name => {
      const cell = document.createElement("th"); cell.textContent = name;
      cell.scope = "col"; return cell;
    }));
    const body = rows.map(name => {
      const row = document.createElement("tr"), first = document.createElement("th");
      first.textContent = name; first.scope = "row";
      row.append(first, ...columns.map(column => {
        const cell = document.createElement("td");
        cell.textContent = number(column[name]); return cell;
      }));
      return row;
    });
    const top = document.createElement("thead"), rest = document.createElement("tbody");
    top.append(head); rest.append(...body); table.replaceChildren(top, rest);
  }
  function drawCurves() {
    const curves = entries.filter(entry => entry.compliance)
      .map(({compliance, tone}) => ({compliance, tone}));
    if (asked?.compliance)
      curves.unshift({compliance: asked.compliance, tone: colour("bad"), dashed: true});
    drawPolar($("polar"), curves, $("plane").value);
    $("polar").setAttribute("aria-label",
      `Young's modulus in the plane (${$("plane").value}) of ${entries.length} cells`);
  }
  function draw() {
    for (const one of slots) one.entry = null;
    $("compare").hidden = !entries.length;
    $("cards").replaceChildren(...entries.map(card));
    if (entries.length) { entries.forEach(drawModulus); drawTable(); drawCurves(); }
    onchange(new Set(entries.map(({job, index}) => key(job, index))));
  }
  function make(job, index) {
    const cell = job.cells[index], compliance = inverse(cell.C);
    const used = new Set(entries.map(entry => entry.tone));
    return {job, index, cell, compliance, kept: false,
      label: job.kind == "generate" ? `cell ${index}` : job.title,
      tone: TONES.find(tone => !used.has(tone)),
      mesh: compliance && mesh(compliance)};
  }
  function toggle({job, index}) {
    const found = entries.find(entry => key(entry.job, entry.index) == key(job, index));
    if (found) entries = entries.filter(entry => entry != found);
    else if (entries.length < MOST) entries.push(make(job, index));
    else return false;
    draw();
    return true;
  }
  function showOptions() {
    $("tiles_out").textContent = $("tiles").value;
    $("cut_out").textContent = (+$("cut").value).toFixed(2);
    for (const {view} of slots) view?.set(options());
  }
  for (const id of ["tiles", "axis", "cut"]) $(id).addEventListener("input", showOptions);
  $("paint").addEventListener("change", () => {
    $("legend").hidden = !$("paint").checked;
    const limits = [...new Set(entries.map(
      entry => short(limitOf(entry) * entry.job.settings.cell_size_mm)))];
    $("legend_text").textContent =
      `red: thinner than ${limits.join(" or ")} mm; blue: four times that or more`;
    entries.forEach(paintWalls);
  });
  $("reset").addEventListener("click", () => {
    for (const [id, value] of [["tiles", 1], ["cut", 1]]) $(id).value = value;
    slots.find(one => one.entry && one.view)?.view.home(); showOptions();
  });
  $("plane").addEventListener("change", drawCurves);
  $("direction").addEventListener("input", drawTable);
  addEventListener("resize", () => {
    if (entries.length) { entries.forEach(drawModulus); drawCurves(); }
  });

  return {
    key, toggle, most: MOST,
    show(job) {  // the cells of a job, beside those to keep
      entries = entries.filter(entry => entry.kept && entry.job.id != job.id);
      const wanted = Math.min(job.cells.length, MOST - entries.length);
      for (let i = 0; i < wanted; i++) entries.push(make(job, i));
      draw();
    },
    drop(id) {
      entries = entries.filter(entry => entry.job.id != id); draw();
    },
    setAsked(name, quantities, modulus) {
      const {C11, C12, C44} = quantities;
      const fixed = [C11, C12, C44].every(Number.isFinite);
      const scaled = Object.fromEntries(["C11", "C12", "C44", "K", "G", "E"].map(
        name => [name, (quantities[name] ?? NaN) * modulus]));
      const {nu, zener: Zener, V: volume} = quantities;
      asked = {name, values: {...scaled, nu, Zener, volume}, compliance: fixed
        ? inverse(cubic(scaled.C11, scaled.C12, scaled.C44)) : null};
      if (entries.length) { drawTable(); drawCurves(); }
    },
  };
}
