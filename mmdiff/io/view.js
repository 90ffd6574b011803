// One cell in 3D on a canvas: WebGL2, one fragment shader, no other library.
//
// The cell is a periodic 3D texture; rays march through it. Copies cost nothing, and
// the cut plane is a smaller box. The pages of runs hold this text inside, so that they
// open from disk; the served page imports it as a module.

const VERTEX = `#version 300 es
void main() {
  gl_Position = vec4(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1, 0, 1);
}`;
const SHADER = `#version 300 es
precision highp float; precision highp sampler3D;
uniform sampler3D cell, walls; uniform mat3 camera; uniform vec2 window;
uniform vec3 box, size; uniform float n, tiles, level, dark, thin; out vec4 colour;
float at(vec3 p) { return texture(cell, (p / size).zyx).r; }
float soft(vec3 p) { return texture(cell, (p / size).zyx).g; }
float edge(vec3 p, float w) {
  vec3 d = min(p, box - p), s = vec3(min(d.x, d.y), min(d.y, d.z), min(d.x, d.z));
  vec3 l = vec3(max(d.x, d.y), max(d.y, d.z), max(d.x, d.z));
  return 1. - smoothstep(.6 * w, 1.4 * w, min(l.x, min(l.y, l.z)));
}
vec3 paint(vec3 p) {  // by octaves of the limit: red below, blue from four times on
  float t = log2(max(texture(walls, (p / size).zyx).r * thin, 1e-3));
  vec3 low = mix(vec3(.78, .11, .16), vec3(.97, .75, .30), smoothstep(-.15, .5, t));
  return mix(low, vec3(.25, .56, .74), smoothstep(.5, 2., t));
}
void main() {
  vec2 xy = (gl_FragCoord.xy * 2. - window) / min(window.x, window.y);
  float scale = length(camera[0]);
  vec3 back = normalize(camera[2]);
  back += vec3(lessThan(abs(back), vec3(1e-5))) * 2e-5;
  vec3 start = .5 * tiles * size + (camera[0] * xy.x + camera[1] * xy.y) * tiles;
  vec3 a = start / back, b = (start - box) / back, lo = min(a, b), hi = max(a, b);
  float enter = max(lo.x, max(lo.y, lo.z)), leave = min(hi.x, min(hi.y, hi.z));
  vec3 ground = dark > .5 ? vec3(.11, .12, .14) : vec3(.985);
  vec3 ink = dark > .5 ? vec3(.62, .66, .72) : vec3(.45, .48, .53);
  float w = 2.2 * tiles * scale / min(window.x, window.y);
  colour = vec4(ground, 1.);
  if (enter >= leave) return;
  vec3 p = start - enter * back, face = vec3(equal(lo, vec3(enter))) * sign(back);
  vec3 inset = clamp(p, vec3(.5 / n), tiles * size - .5 / n);
  inset -= face * .5 / n * step(vec3(.001), tiles * size - box);
  float depth = enter, h = .6 / n; bool hit = at(inset) > level, cut = hit;
  vec3 normal = face;
  for (int i = 0; i < 1400 && !hit; i++) {
    depth += h;
    if (depth > leave) break;
    hit = at(start - depth * back) > level;
  }
  if (hit && !cut) {
    float from = depth - h, to = depth;
    for (int i = 0; i < 5; i++) {
      depth = .5 * (from + to);
      if (at(start - depth * back) > level) to = depth; else from = depth;
    }
    p = start - depth * back;
    vec2 e = vec2(1.3 / n, 0.);
    normal = -normalize(vec3(soft(p + e.xyy) - soft(p - e.xyy),
      soft(p + e.yxy) - soft(p - e.yxy), soft(p + e.yyx) - soft(p - e.yyx)) + 1e-6);
  }
  float front = edge(start - enter * back, w);
  if (!hit) {
    float far = edge(start - leave * back, w);
    colour.rgb = mix(ground, ink, max(.7 * front, .4 * far)); return;
  }
  vec3 local = normal * mat3(normalize(camera[0]), normalize(camera[1]), back);
  float key = max(dot(local, vec3(-.50, .74, .45)), 0.);
  float fill = max(dot(local, vec3(.80, .05, .60)), 0.);
  float around = 0.;
  for (int i = 2; i < 9; i += 2) {
    vec3 q = p + normal * float(i) / n;
    around += .25 * at(q) * float(all(lessThan(abs(q / box - .5), vec3(.5))));
  }
  float dim = (1. - .4 * around) * (1. - .25 * (depth - enter) / tiles);
  colour.rgb = cut ? (thin > 0. ? vec3(.7) : vec3(.31, .51, .77)) * (.74 + .36 * key)
    : (thin > 0. ? paint(p) : vec3(.98, .75, .38)) * dim * (.54 + .54 * key + .2 * fill);
  colour.rgb = mix(colour.rgb, ink, .6 * front);
}`;
const HOME = {azimuth: 32, elevation: 28, zoom: 1};

function blur(field, shape) {  // weights 1 2 1 along each axis, periodic
  const [, ny, nz] = shape;
  for (const [axis, stride] of [[2, 1], [1, nz], [0, nz * ny]]) {
    const next = new Float32Array(field.length), n = shape[axis];
    for (let i = 0; i < field.length; i++) {
      const k = Math.floor(i / stride) % n;
      const low = k ? i - stride : i + (n - 1) * stride;
      const high = k < n - 1 ? i + stride : i - (n - 1) * stride;
      next[i] = .25 * field[low] + .5 * field[i] + .25 * field[high];
    }
    field = next;
  }
  return field;
}
function texels(solid, shape) {
  // Red: the surface; no voxel changes sides, walls of one voxel keep their width.
  // Green: smoother, for the normals.
  const field = blur(Float32Array.from(solid), shape);
  const soft = blur(blur(field, shape), shape), out = new Uint8Array(2 * solid.length);
  for (let i = 0; i < solid.length; i++) {
    const v = field[i];
    out[2 * i] = Math.round(255 *
      (solid[i] ? Math.max(v, v < .45 ? .75 : .56) : Math.min(v, v > .55 ? .25 : .44)));
    out[2 * i + 1] = Math.round(255 * soft[i]);
  }
  return out;
}
function mirrored(bytes, n) {  // both: the field, of which the octant is given
  const h = n / 2, out = new Uint8Array(2 * n * n * n);
  const at = i => i < h ? i : n - 1 - i;
  for (let i = 0; i < n * n * n; i++) {
    const x = at(Math.floor(i / n / n)), y = at(Math.floor(i / n) % n), z = at(i % n);
    out[2 * i] = out[2 * i + 1] = bytes.charCodeAt((x * h + y) * h + z);
  }
  return out;
}
function unpacked(bytes, count) {
  const solid = new Uint8Array(count);
  for (let i = 0; i < count; i++)
    solid[i] = bytes.charCodeAt(i >> 3) >> (7 - (i & 7)) & 1;
  return solid;
}
function makeView(canvas) {
  // Returns null without WebGL2. `set` takes tiles, axis, cut, level and thin, `load` a
  // cell as `mmdiff.io.viewer.pack` makes it, `paint` the thickness of its walls.
  const gl = canvas.getContext("webgl2", {antialias: false});
  if (!gl) return null;
  const program = gl.createProgram();
  for (const [kind, text] of [
    [gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, SHADER]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text); gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program); gl.useProgram(program);
  const at = name => gl.getUniformLocation(program, name);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  for (const unit of [1, 0]) {  // the cell stays the active one
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_3D, gl.createTexture());
    for (const end of ["MIN", "MAG"])
      gl.texParameteri(gl.TEXTURE_3D, gl[`TEXTURE_${end}_FILTER`], gl.LINEAR);
    for (const side of ["S", "T", "R"])
      gl.texParameteri(gl.TEXTURE_3D, gl["TEXTURE_WRAP_" + side], gl.REPEAT);
  }
  gl.uniform1i(at("walls"), 1);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const options = {tiles: 1, axis: "z", cut: 1, level: .5, thin: 0};
  const held = new Map();  // pointers that are down; the picture is coarser meanwhile
  let look = {...HOME}, shape = [1, 1, 1], waiting = false;
  const view = {onlook: () => {}};

  function render() {
    waiting = false;
    const ratio = held.size ? 1 : Math.min(Math.max(devicePixelRatio || 1, 1.6), 2);
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    gl.viewport(0, 0, canvas.width, canvas.height);
    const n = Math.max(...shape), size = shape.map(edge => edge / n);
    const box = size.map(edge => edge * options.tiles);
    box["xyz".indexOf(options.axis)] *= options.cut;
    const a = look.azimuth * Math.PI / 180, e = look.elevation * Math.PI / 180;
    const s = .9 / look.zoom, ca = Math.cos(a), sa = Math.sin(a), ce = Math.cos(e),
      se = Math.sin(e);
    gl.uniformMatrix3fv(at("camera"), false, [-s * sa, s * ca, 0,
      -s * se * ca, -s * se * sa, s * ce, ce * ca, ce * sa, se]);
    gl.uniform2f(at("window"), canvas.width, canvas.height);
    gl.uniform3f(at("box"), ...box); gl.uniform3f(at("size"), ...size);
    gl.uniform1f(at("n"), n); gl.uniform1f(at("dark"), dark.matches ? 1 : 0);
    for (const name of ["tiles", "level", "thin"])
      gl.uniform1f(at(name), options[name]);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
  function draw() { if (!waiting) { waiting = true; requestAnimationFrame(render); } }
  function turn(dx, dy) {
    look.azimuth -= dx;
    look.elevation = Math.max(-89.9, Math.min(89.9, look.elevation + dy)); moved();
  }
  function zoom(factor) {
    look.zoom = Math.max(.4, Math.min(12, look.zoom * factor)); moved();
  }
  function moved() { draw(); view.onlook(look); }
  const spread = () => {
    const [p, q] = [...held.values()]; return Math.hypot(p[0] - q[0], p[1] - q[1]);
  };
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", event => {
    const last = held.get(event.pointerId);
    if (!last) return;
    const before = held.size > 1 ? spread() : 0;
    held.set(event.pointerId, [event.clientX, event.clientY]);
    if (before) zoom(spread() / before);
    else turn((event.clientX - last[0]) * .5, (event.clientY - last[1]) * .5);
  });
  for (const kind of ["pointerup", "pointercancel"])
    canvas.addEventListener(kind, event => { held.delete(event.pointerId); draw(); });
  canvas.addEventListener("wheel", event => {
    event.preventDefault(); zoom(Math.exp(-event.deltaY * .0015));
  }, {passive: false});
  canvas.addEventListener("keydown", event => {
    const turns = {ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, -5],
      ArrowDown: [0, 5]}[event.key];
    if (turns) turn(...turns);
    else if (event.key == "+" || event.key == "=") zoom(1.15);
    else if (event.key == "-") zoom(1 / 1.15);
    else return;
    event.preventDefault();
  });
  addEventListener("resize", draw);
  dark.addEventListener("change", draw);
  return Object.assign(view, {
    render,
    load(cell) {
      const bytes = atob(cell.field || cell.bits); shape = cell.shape;
      const [nx, ny, nz] = shape, count = nx * ny * nz;
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.RG8, nz, ny, nx, 0, gl.RG, gl.UNSIGNED_BYTE,
        cell.field ? mirrored(bytes, nx) : texels(unpacked(bytes, count), shape));
      draw();
    },
    paint(bytes, [nx, ny, nz]) {
      gl.activeTexture(gl.TEXTURE1);
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8, nz, ny, nx, 0, gl.RED, gl.UNSIGNED_BYTE,
        bytes);
      gl.activeTexture(gl.TEXTURE0);
      draw();
    },
    set(changes) { Object.assign(options, changes); draw(); },
    look(next) { look = {...next}; draw(); },
    home() { look = {...HOME}; moved(); },
  });
}
