// Young's modulus by direction: as a surface whose radius it is, and around a plane.

import {unit, young} from "/static/tensor.js";

const SOFT = [70, 120, 190], STIFF = [250, 190, 95];
const STEPS = 24;  // from pole to pole
const PLANES = {  // two directions at right angles
  "001": [[1, 0, 0], [0, 1, 0]],
  "110": [[1, 1, 0], [0, 0, 1]],
  "111": [[1, -1, 0], [1, 1, -2]],
};

export function fitted(canvas) {  // its context, in CSS pixels
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * ratio; canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return {context, width, height};
}

export const colour = name =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export function mesh(compliance) {
  const points = [];
  for (let i = 0; i <= STEPS; i++)
    for (let j = 0; j <= 2 * STEPS; j++) {
      const a = Math.PI * i / STEPS, b = Math.PI * j / STEPS;
      const n = [Math.sin(a) * Math.cos(b), Math.sin(a) * Math.sin(b), Math.cos(a)];
      const e = young(compliance, n);
      points.push({e, at: n.map(x => x * e)});
    }
  const values = points.map(point => point.e);
  return {points, least: Math.min(...values), most: Math.max(...values)};
}

export function drawSurface(canvas, {points}, look, most) {
  const {context, width, height} = fitted(canvas);
  const a = look.azimuth * Math.PI / 180, e = look.elevation * Math.PI / 180;
  const [ca, sa, ce, se] = [Math.cos(a), Math.sin(a), Math.cos(e), Math.sin(e)];
  const axes = [[-sa, ca, 0], [-se * ca, -se * sa, ce], [ce * ca, ce * sa, se]];
  const scale = .46 * Math.min(width, height) / most;
  const seen = points.map(({e, at}) => ({e, at: axes.map(
    axis => scale * (axis[0] * at[0] + axis[1] * at[1] + axis[2] * at[2]))}));
  const row = 2 * STEPS + 1, faces = [];
  for (let i = 0; i < STEPS; i++)
    for (let j = 0; j < 2 * STEPS; j++) {
      const corners = [i * row + j, (i + 1) * row + j, (i + 1) * row + j + 1,
        i * row + j + 1].map(k => seen[k]);
      faces.push({corners, depth: corners.reduce((sum, p) => sum + p.at[2], 0)});
    }
  faces.sort((p, q) => p.depth - q.depth);
  for (const {corners} of faces) {
    const [p, q, r, s] = corners.map(corner => corner.at);
    const u = r.map((x, k) => x - p[k]), v = s.map((x, k) => x - q[k]);
    const normal = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2],
      u[0] * v[1] - u[1] * v[0]];
    const length = Math.hypot(...normal) || 1;
    const light = (-.4 * normal[0] + .6 * normal[1] + .7 * normal[2]) / length;
    const share = corners[0].e / most, shade = .72 + .3 * light;
    const tone = SOFT.map((low, k) => shade * (low + (STIFF[k] - low) * share));
    context.fillStyle = context.strokeStyle = `rgb(${tone.map(Math.round).join(" ")})`;
    context.beginPath();
    for (const point of [p, q, r, s])
      context.lineTo(width / 2 + point[0], height / 2 - point[1]);
    context.closePath(); context.fill(); context.stroke();
  }
}

export function drawPolar(canvas, curves, plane) {
  const {context, width, height} = fitted(canvas);
  const [first, second] = PLANES[plane].map(unit), steps = 180;
  const lines = curves.map(({compliance, tone, dashed}) => ({tone, dashed,
    radii: Array.from({length: steps + 1}, (_, i) => {
      const [c, s] = [Math.cos(2 * Math.PI * i / steps), Math.sin(2 * Math.PI * i / steps)];
      return young(compliance, first.map((x, k) => c * x + s * second[k]));
    })}));
  const most = Math.max(...lines.flatMap(line => line.radii), 1e-12);
  const scale = .42 * Math.min(width, height) / most;
  context.font = "12px system-ui, sans-serif"; context.textAlign = "center";
  context.strokeStyle = colour("line"); context.fillStyle = colour("soft");
  for (const share of [.5, 1]) {
    context.beginPath();
    context.arc(width / 2, height / 2, share * most * scale, 0, 7); context.stroke();
    context.fillText((share * most).toPrecision(3), width / 2,
      height / 2 - share * most * scale - 3);
  }
  context.lineWidth = 2;
  for (const {radii, tone, dashed} of lines) {
    context.strokeStyle = tone; context.setLineDash(dashed ? [5, 4] : []);
    context.beginPath();
    radii.forEach((radius, i) => {
      const angle = 2 * Math.PI * i / steps;
      context.lineTo(width / 2 + scale * radius * Math.cos(angle),
        height / 2 - scale * radius * Math.sin(angle));
    });
    context.stroke();
  }
  context.setLineDash([]);
}
