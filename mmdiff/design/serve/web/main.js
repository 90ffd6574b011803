// The page: what is asked, jobs and their progress, what came out, the history.

import {get, listen, post, remove, sendFile} from "/static/api.js";
import {makeCompare} from "/static/compare.js";
import {makeRegion} from "/static/region.js";
import {makeTarget} from "/static/target.js";

const $ = id => document.getElementById(id);
const OVER = ["finished", "failed", "cancelled"];
const jobs = new Map();  // lines by number
let shown = null;  // the job in the middle, with cells
let region;

const modulus = () => $("base.E").valueAsNumber || 1;
const target = makeTarget(quantities => {
  region?.setTarget(quantities);
  if (shown?.kind != "generate") compareWithForm();
});
// Cells stand beside what was asked of them, files beside what the form asks.
const compareWithForm = () => compare.setAsked("form", target.here(), modulus());
const compare = makeCompare({
  ontarget: (tensor, volume, job) => {
    $("base.E").value = job.settings.base.E;
    $("base.E").dispatchEvent(new Event("input", {bubbles: true}));
    target.takeTensor(tensor, volume); $("design").scrollIntoView();
  },
  onchange: keys => {
    for (const button of $("picks").children)
      button.setAttribute("aria-pressed", keys.has(button.dataset.key));
  },
});

function duration(seconds) {
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}
function words(job) {
  const {share} = job.progress;
  if (job.state == "running")
    return share ? `at work, ${Math.round(100 * share)} %` : "at work";
  if (job.state == "queued") return "waits";
  if (job.state == "finished") return `took ${duration(job.seconds)}`;
  return job.message ? `${job.state}: ${job.message}` : job.state;
}

function drawHistory() {
  const list = [...jobs.values()].sort((p, q) => q.id - p.id);
  $("nothing").hidden = list.length > 0;
  $("history").replaceChildren(...list.map(job => {
    const item = document.createElement("li");
    item.classList.toggle("shown", job.id == shown?.id);
    item.innerHTML = `<div><b></b><p class="when"></p><p class="how"></p>
      <div class="acts"></div></div>`;
    item.querySelector("b").textContent = `${job.id}. ${job.title}`;
    item.querySelector("b").title = job.title;
    item.querySelector(".when").textContent =
      `${job.kind == "generate" ? "cells" : "file"}, ${job.created.slice(0, 16)}`;
    item.querySelector(".how").textContent = words(job);
    item.querySelector(".how").title = job.message;
    if (job.state == "finished") {
      const image = document.createElement("img");
      image.alt = ""; image.loading = "lazy";
      image.src = `/jobs/${job.id}/${job.kind == "generate" ? "cell_00" : "sphere"}.png`;
      image.addEventListener("error", () => image.remove());
      item.prepend(image);
    }
    const act = (text, call) => {
      const button = document.createElement("button");
      button.type = "button"; button.textContent = text;
      button.setAttribute("aria-label", `${text}: job ${job.id}`);
      button.addEventListener("click", call);
      item.querySelector(".acts").append(button);
    };
    act("Show", () => show(job.id));
    if (job.kind == "generate")
      act("Same settings", () => {
        target.fill({vf: .3, ...job.given}); $("design").scrollIntoView();
      });
    if (OVER.includes(job.state))
      act("Delete", async () => {
        if (confirm(`Delete job ${job.id} and its files?`))
          await remove(`/api/jobs/${job.id}`).catch(error => alert(error.message));
      });
    else act("Cancel", () => cancel(job.id));
    return item;
  }));
}

async function cancel(id) {
  await post(`/api/jobs/${id}/cancel`).catch(error => alert(error.message));
}

async function show(id, {keep = false} = {}) {
  const found = await get(`/api/jobs/${id}`).catch(() => null);
  if (!found) return;
  shown = found;
  drawJob(); drawPicks(); drawHistory();
  if (shown.asked) compare.setAsked("asked", shown.asked, shown.settings.base.E);
  else compareWithForm();
  compare.show(shown); drawFound();
  if (!keep) $("job").scrollIntoView({block: "nearest"});
}
function drawFound() {
  region?.setFound(shown.samples || [], shown.kind == "generate" ? shown.cells
    : shown.cells.filter(cell => cell.C11), shown.settings.base.E);
}
function drawJob() {
  const line = jobs.get(shown.id) || shown, working = !OVER.includes(line.state);
  $("job").hidden = false;
  $("job_title").textContent = `Job ${shown.id}: ${shown.title}`;
  $("at_work").hidden = !working;
  if (line.state == "queued" || !line.progress.share) $("progress").removeAttribute("value");
  else $("progress").value = line.progress.share;
  $("progress_text").textContent = line.state == "queued"
    ? "waits for the job before it" : line.progress.text || "is being started";
  const message = line.state == "failed" ? line.message
    : line.state == "cancelled" ? `Cancelled. ${line.message}` : "";
  $("job_message").hidden = !message; $("job_message").textContent = message;
  const links = [];
  if (line.state == "finished" && shown.files.length) {
    const zip = Object.assign(document.createElement("a"),
      {href: `/jobs/${shown.id}/all.zip`, download: "", textContent: "All files as zip"});
    const page = Object.assign(document.createElement("a"), {
      href: `/jobs/${shown.id}/${shown.page}`, target: "_blank",
      textContent: "Page of the run with all numbers"});
    const code = document.createElement("code");
    code.textContent = shown.command; code.tabIndex = 0;
    code.title = "The same on the command line";
    links.push(zip, page, code);
  }
  $("job_links").replaceChildren(...links);
}
function drawPicks() {
  $("picks").replaceChildren(...shown.cells.map((cell, i) => {
    const button = document.createElement("button");
    button.type = "button"; button.dataset.key = compare.key(shown, i);
    button.textContent = shown.kind == "generate"
      ? `cell ${i}: ${(100 * cell.error).toFixed(2)} % off` : shown.title;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      if (!compare.toggle({job: shown, index: i}))
        alert(`${compare.most} cells are shown at once. Remove one of them first.`);
    });
    return button;
  }));
}

const handlers = {
  job(line) {
    const before = jobs.get(line.id);
    jobs.set(line.id, line);
    if (shown?.id == line.id) {
      drawJob();
      if (OVER.includes(line.state) && !OVER.includes(before?.state))
        show(line.id, {keep: true});
    } else if (line.state == "running" && (!shown || OVER.includes(
      jobs.get(shown.id)?.state)) && before?.state != "running") show(line.id);
    drawHistory();
  },
  cell({job, cell}) {
    if (shown?.id != job) return;
    shown.cells.push(cell);
    drawPicks(); compare.show(shown); drawFound();
  },
  sample({job, sample}) {
    if (shown?.id != job) return;
    shown.samples.push(sample); drawFound();
  },
  removed({id}) {
    jobs.delete(id); compare.drop(id);
    if (shown?.id == id) { shown = null; $("job").hidden = true; }
    drawHistory();
  },
};

async function refresh() {
  const {jobs: lines} = await get("/api/jobs");
  jobs.clear();
  for (const line of lines) jobs.set(line.id, line);
  drawHistory();
  const first = lines.find(line => line.state == "running")
    || lines.find(line => line.state == "finished");
  const next = shown && jobs.has(shown.id) ? shown.id : first?.id;
  if (next) await show(next, {keep: true});
}

function linked(on) {
  $("link").textContent = on ? "" : "The server does not answer. If it was started again, "
    + "open the address it printed.";
  $("link").classList.toggle("lost", !on);
  if (on) refresh().catch(() => {});
}

$("design").addEventListener("submit", async event => {
  event.preventDefault();
  $("refused").textContent = ""; $("go").disabled = true;
  try {
    const line = await post("/api/jobs", target.settings());
    jobs.set(line.id, line);
    if (!shown || OVER.includes(jobs.get(shown.id)?.state)) await show(line.id);
    drawHistory();
  } catch (error) { $("refused").textContent = error.message; }
  $("go").disabled = false;
});

async function homogenize(file) {
  $("file_refused").textContent = "";
  const settings = {};
  for (const id of ["scale", "threshold", "mesh_voxels", "cell_size_mm"])
    if ($(id).value !== "") settings[id] = $(id).valueAsNumber;
  for (const id of ["base.E", "base.nu"]) settings[id] = $(id).valueAsNumber;
  for (const id of ["input_is", "geometry", "refine"]) settings[id] = $(id).value;
  try {
    const line = await sendFile(file, settings);
    jobs.set(line.id, line); await show(line.id);
  } catch (error) { $("file_refused").textContent = error.message; }
}
$("file").addEventListener("change", async () => {
  for (const file of $("file").files) await homogenize(file);
  $("file").value = "";
});
for (const kind of ["dragover", "dragleave", "drop"])
  $("drop").addEventListener(kind, async event => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind == "dragover");
    if (kind == "drop") for (const file of event.dataTransfer.files) await homogenize(file);
  });
$("cancel").addEventListener("click", () => cancel(shown.id));

async function begin() {
  const about = await get("/api/about");
  $("file").accept = about.uploads.join(",");
  $("kinds").textContent = `${about.uploads.join(" ")}, up to `
    + `${Math.round(about.upload_bytes / 1e6)} MB.`;
  region = await makeRegion({ontake: values => target.take(values),
    canTake: key => target.canTake(key)});
  await region.load($("base.nu").value);
  $("base.nu").addEventListener("change", () => {
    if ($("base.nu").validity.valid) region.load($("base.nu").value).catch(() => {});
  });
  await target.check();
  listen(handlers, linked);
}
begin().catch(error => {
  $("link").textContent = error.message; $("link").classList.add("lost");
});
