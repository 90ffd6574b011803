// What cells can reach: known cells and bounds as plots, with the target as a point.

import {get} from "/static/api.js";
import {colour, fitted} from "/static/surface.js";
import {moduli} from "/static/tensor.js";

const $ = id => document.getElementById(id);
const NEAR = .025;  // of the volume
const NAMES = {V: "volume of solid V", nu: "Poisson's ratio ν", zener: "Zener ratio"};
const LIMITS = {nu: [-.6, .5], zener: [0, 4], V: [0, 1]};  // else from the points
const EDGE = {left: 54, right: 12, top: 10, bottom: 40};

export async function makeRegion({ontake, canTake}) {
  let data, columns, target = {}, samples = [], cells = [], waiting = false;
  const plots = [["plot_a", "a_x", "a_y", "V", "E"], ["plot_b", "b_x", "b_y", "nu", "E"]]
    .map(([id, x, y, ...start]) => ({canvas: $(id), x: $(x), y: $(y), start}));

  async function load(nu) {
    data = await get(`/api/region?nu=${nu}`);
    const bytes = Uint8Array.from(atob(data.points), char => char.charCodeAt(0));
    const numbers = new Float32Array(bytes.buffer);
    columns = Object.fromEntries(data.axes.map((axis, i) =>
      [axis, numbers.subarray(i * data.count, (i + 1) * data.count)]));
    draw();
  }
  function limitsOf(axis) {
    if (LIMITS[axis]) return LIMITS[axis];
    const sorted = Float32Array.from(columns[axis]).sort();
    const most = sorted[Math.floor(.995 * sorted.length)];
    return [axis == "C12" ? Math.min(sorted[Math.floor(.002 * sorted.length)], 0) : 0,
      1.08 * most];
  }
  const bound = (axis, volume) => {
    const place = Math.max(0, Math.min(volume, 1)) * (data.volume.length - 1);
    const low = Math.floor(place), high = Math.min(low + 1, data.volume.length - 1);
    const values = data.curves[axis];
    return values[low] + (place - low) * (values[high] - values[low]);
  };
  function paint(plot) {
    const {context: g, width, height} = fitted(plot.canvas);
    const [kx, ky] = [plot.x.value, plot.y.value];
    const [x0, x1] = limitsOf(kx), [y0, y1] = limitsOf(ky);
    const w = width - EDGE.left - EDGE.right, h = height - EDGE.top - EDGE.bottom;
    const px = x => EDGE.left + w * (x - x0) / (x1 - x0);
    const py = y => EDGE.top + h * (1 - (y - y0) / (y1 - y0));
    plot.back = (left, top) => [x0 + (x1 - x0) * (left - EDGE.left) / w,
      y0 + (y1 - y0) * (1 - (top - EDGE.top) / h)].map((v, i) =>
      Math.max([x0, y0][i], Math.min([x1, y1][i], v)));
    g.font = "12px system-ui, sans-serif";
    g.strokeStyle = colour("line"); g.fillStyle = colour("soft");
    for (const [low, high, along] of [[x0, x1, true], [y0, y1, false]]) {
      const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
      const step = power * [1, 2, 5, 10].find(m => m * power >= rough);
      for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + 1e-9; t += step) {
        const text = String(+t.toFixed(6));
        g.beginPath();
        if (along) {
          g.moveTo(px(t), EDGE.top); g.lineTo(px(t), EDGE.top + h);
          g.textAlign = "center"; g.fillText(text, px(t), EDGE.top + h + 15);
        } else {
          g.moveTo(EDGE.left, py(t)); g.lineTo(EDGE.left + w, py(t));
          g.textAlign = "right"; g.fillText(text, EDGE.left - 6, py(t) + 4);
        }
        g.stroke();
      }
    }
    g.fillStyle = colour("ink"); g.textAlign = "center";
    const label = axis => NAMES[axis] || `${axis} / E of the solid`;
    g.fillText(label(kx), EDGE.left + w / 2, height - 8);
    g.save(); g.translate(13, EDGE.top + h / 2); g.rotate(-Math.PI / 2);
    g.fillText(label(ky), 0, 0); g.restore();
    g.save(); g.beginPath(); g.rect(EDGE.left, EDGE.top, w, h); g.clip();
    const [xs, ys, vs] = [columns[kx], columns[ky], columns.V];
    const near = i => target.V && Math.abs(vs[i] - target.V) < NEAR;
    g.fillStyle = colour("known");
    for (let i = 0; i < data.count; i++)
      if (!near(i)) g.fillRect(px(xs[i]) - .8, py(ys[i]) - .8, 1.6, 1.6);
    g.fillStyle = colour("near");
    for (let i = 0; i < data.count; i++)
      if (near(i)) g.fillRect(px(xs[i]) - 1.2, py(ys[i]) - 1.2, 2.4, 2.4);
    g.strokeStyle = colour("ink"); g.lineWidth = 2;
    if (kx == "V" && data.curves[ky]) {
      g.beginPath();
      data.volume.forEach((v, i) => g.lineTo(px(v), py(data.curves[ky][i])));
      g.stroke();
    } else if (data.curves[ky] && target.V) {
      const y = py(bound(ky, target.V));
      g.beginPath(); g.moveTo(EDGE.left, y); g.lineTo(EDGE.left + w, y); g.stroke();
    }
    g.strokeStyle = g.fillStyle = colour("ochre"); g.lineWidth = 1.5;
    for (const point of samples) {
      g.beginPath(); g.arc(px(point[kx]), py(point[ky]), 3.5, 0, 7); g.stroke();
    }
    for (const point of cells) {
      g.beginPath(); g.arc(px(point[kx]), py(point[ky]), 4.5, 0, 7); g.fill();
    }
    mark(g, px, py, [kx, ky], [x0, x1, y0, y1]);
    g.restore();
    const name = key => Number.isFinite(target[key]) ? target[key].toPrecision(3) : "free";
    plot.canvas.setAttribute("aria-label", `${label(ky)} over ${label(kx)} of `
      + `${data.count} known cells. Asked: ${name(ky)} at ${name(kx)}.`);
  }
  function mark(g, px, py, [kx, ky], [x0, x1, y0, y1]) {
    const [x, y] = [target[kx], target[ky]].map(
      value => Number.isFinite(value) ? value : null);
    g.strokeStyle = colour("bad"); g.lineWidth = 2.5;
    if (x !== null && y !== null) {
      g.beginPath(); g.arc(px(x), py(y), 7, 0, 7); g.stroke(); return;
    }
    g.setLineDash([5, 4]);
    if (x !== null) { g.beginPath(); g.moveTo(px(x), py(y0)); g.lineTo(px(x), py(y1)); }
    if (y !== null) { g.beginPath(); g.moveTo(px(x0), py(y)); g.lineTo(px(x1), py(y)); }
    if (x !== null || y !== null) g.stroke();
    g.setLineDash([]);
  }
  function draw() {
    if (waiting || !data) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; plots.forEach(paint); });
  }
  for (const plot of plots) {
    for (const [select, start] of [[plot.x, plot.start[0]], [plot.y, plot.start[1]]]) {
      for (const axis of ["V", "C11", "C12", "C44", "K", "G", "E", "nu", "zener"])
        select.add(new Option(axis == "nu" ? "ν" : axis == "zener" ? "Zener" : axis, axis,
          false, axis == start));
      select.addEventListener("change", draw);
    }
    const take = event => {
      if (!(event.buttons & 1) || !plot.back) return;
      const [x, y] = plot.back(event.offsetX, event.offsetY), values = {};
      if (canTake(plot.x.value)) values[plot.x.value] = x;
      if (canTake(plot.y.value)) values[plot.y.value] = y;
      if (Object.keys(values).length) ontake(values);
    };
    plot.canvas.addEventListener("pointerdown", take);
    plot.canvas.addEventListener("pointermove", take);
  }
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  const point = (c11, c12, c44, volume) =>
    ({C11: c11, C12: c12, C44: c44, V: volume, ...moduli(c11, c12, c44)});
  return {
    load,
    setTarget(next) { target = next; draw(); },
    setFound(someSamples, someCells, modulus) {
      samples = someSamples.map(sample => point(...sample));
      cells = someCells.map(cell => point(
        ...[cell.C11, cell.C12, cell.C44].map(x => x / modulus), cell.volume));
      draw();
    },
  };
}
