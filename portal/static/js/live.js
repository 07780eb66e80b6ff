// The live page of a job: follows server-sent events from data-live-url and keeps the page's figures, curves, stages
// and log current. Without it the page shows the state as of its loading. docs/design-system.md lists the attributes.

const page = document.querySelector("[data-live-url]");
const pick = (name) => page.querySelector(`[data-live-${name}]`);
const numbers = new Intl.NumberFormat(document.documentElement.lang || undefined, { maximumFractionDigits: 4 });
const clock = new Intl.DateTimeFormat(document.documentElement.lang || undefined, { timeStyle: "medium" });
const TERMINAL = new Set(["succeeded", "failed", "cancelled", "refused"]);
const LOG_LINES = 1000;
const POINTS = 4000;

function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${rest} s` : `${rest} s`;
}
function say(name, text) {
  const element = pick(name);
  if (element && element.textContent !== text) element.textContent = text;
}

// Curves: one chart per [data-chart]; its value lists the metrics it shows, "loss validation_loss" for instance.
class Curves {
  constructor(box) {
    this.box = box;
    this.wanted = box.dataset.chart.split(/\s+/).filter(Boolean);
    this.names = this.wanted.includes("*") ? [] : this.wanted;
    this.data = [[], ...this.names.map(() => [])];
    this.plot = null;
    this.waiting = false;
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(box);
    box.addEventListener("mouseleave", () => requestAnimationFrame(() => this.showLast()));
    document.addEventListener("gatehouse:theme", () => this.rebuild());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
  }
  size() { return { width: Math.max(240, this.box.clientWidth), height: 220 }; }
  add(step, values) {
    if (this.wanted.includes("*")) {
      for (const name of Object.keys(values)) {
        if (name === "loss" || name.endsWith("_loss") || this.names.includes(name) || !Number.isFinite(values[name])) continue;
        this.names.push(name);
        this.data.push(new Array(this.data[0].length).fill(null));
        this.plot?.destroy();
        this.plot = null;
      }
    }
    if (!this.names.some((name) => Number.isFinite(values[name]))) return;
    const steps = this.data[0];
    let at = steps.length - 1;
    // A retried job reports steps again from its last checkpoint: what lies after is no longer true.
    while (at >= 0 && steps[at] > step) { for (const row of this.data) row.pop(); at -= 1; }
    if (at < 0 || steps[at] !== step) { steps.push(step); for (const row of this.data.slice(1)) row.push(null); at = steps.length - 1; }
    this.names.forEach((name, index) => { if (Number.isFinite(values[name])) this.data[index + 1][at] = values[name]; });
    // Long runs: drop every second point of the older half, so that the browser draws a bounded number.
    if (steps.length > POINTS) this.data = this.data.map((row) => row.filter((_, index) => index > POINTS / 2 || index % 2 === 0));
    this.draw();
  }
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.plot) this.plot.setData(this.data); else this.build();
      this.showLast();
    });
  }
  // While nobody points at the chart, its legend tells the newest figures.
  showLast() { if (this.plot && !this.box.matches(":hover")) this.plot.setLegend({ idxs: this.data.map((row) => row.findLastIndex((value) => value !== null)).map((at) => (at < 0 ? null : at)) }); }
  rebuild() { if (this.plot) { this.plot.destroy(); this.plot = null; this.build(); this.showLast(); } }
  build() {
    if (!window.uPlot || !this.data[0].length) return;
    this.box.querySelector("[data-chart-empty]")?.remove();
    // The canvas cannot read light-dark(); a probe element turns tokens into colours that it can.
    const probe = this.box.appendChild(document.createElement("span"));
    const colour = (token) => { probe.style.color = `var(--${token})`; return getComputedStyle(probe).color; };
    const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: `12px ${getComputedStyle(this.box).fontFamily}` };
    const series = this.names.map((name, index) => ({
      label: name.replaceAll("_", " "), stroke: colour(`series-${(index % 5) + 1}`), width: 1.75, spanGaps: true, points: { show: this.data[index + 1].filter((value) => value !== null).length < 30, size: 5 },
      value: (_, value) => (Number.isFinite(value) ? numbers.format(value) : "–"),
    }));
    probe.remove();
    this.plot = new window.uPlot({ ...this.size(), scales: { x: { time: false } }, axes: [{ ...axis, size: 32 }, { ...axis, size: 54 }], series: [{ label: this.box.dataset.xLabel || "Step" }, ...series], cursor: { y: false } }, this.data, this.box);
    const canvas = this.box.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", this.box.getAttribute("aria-label") || this.names.join(", "));
  }
}

const charts = [...page.querySelectorAll("[data-chart]")].map((box) => new Curves(box));
let lastStep = 0;

const on = {
  progress(event) {
    const bar = pick("progress");
    if (bar && Number.isFinite(event.step)) {
      if (event.max_steps) { bar.max = event.max_steps; bar.value = event.step; } else bar.removeAttribute("value");
    }
    lastStep = event.step ?? lastStep;
    if (event.step !== undefined) say("step", event.max_steps ? `${numbers.format(event.step)} / ${numbers.format(event.max_steps)}` : numbers.format(event.step));
    if (event.epoch !== undefined) say("epoch", new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 }).format(event.epoch));
    if (event.eta_s !== undefined) say("eta", event.eta_s === null ? "–" : duration(event.eta_s));
    if (Number.isFinite(event.useful_tokens_per_s)) say("speed", numbers.format(Math.round(event.useful_tokens_per_s)));
  },
  metrics(event) {
    const values = event.values ?? {};
    const step = event.step ?? lastStep;
    for (const chart of charts) chart.add(step, values);
    for (const [name, value] of Object.entries(values)) {
      const element = page.querySelector(`[data-live-metric="${CSS.escape(name)}"]`);
      if (element && Number.isFinite(value)) element.textContent = numbers.format(value);
    }
  },
  log(event) {
    const list = pick("log");
    if (!list) return;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
    const line = document.createElement("li");
    const time = document.createElement("time");
    const moment = new Date(event.at);
    if (!Number.isNaN(moment.getTime())) { time.dateTime = event.at; time.textContent = clock.format(moment); time.title = event.at; }
    line.dataset.level = event.level ?? "info";
    line.append(time, Object.assign(document.createElement("span"), { textContent: event.message ?? "" }));
    list.append(line);
    while (list.children.length > LOG_LINES) list.firstElementChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  },
  stage(event) {
    const stages = pick("stages");
    const now = stages?.querySelector(`[data-stage="${CSS.escape(event.name ?? "")}"]`);
    if (now) {
      let passed = true;
      for (const item of stages.children) {
        if (item === now) passed = false;
        mark(item, item === now ? "current" : passed ? "done" : "todo");
      }
    }
    // Only stages are spoken: a screen reader that hears every step hears nothing else.
    say("summary", event.message || event.name || "");
  },
  state(event, id) {
    if (event.label) say("summary", event.label);
    newest = { state: event.state, id };
    // A stream that starts from the first event replays old states in a burst: only the one that stands counts.
    clearTimeout(settling);
    settling = setTimeout(follow, 500);
  },
};
let newest = null;
let settling = 0;
function follow() {
  if (TERMINAL.has(newest.state)) source?.close();
  if (newest.state === page.dataset.liveState) return;
  // The server draws the new state, with its buttons and results. Once for each move: should page and event disagree
  // for good, the page stays as it is instead of loading for ever.
  const mark = `gatehouse.reloaded.${page.dataset.liveUrl}`;
  try {
    const move = `${page.dataset.liveState} ${newest.state} ${newest.id}`;
    if (sessionStorage.getItem(mark) === move) return;
    sessionStorage.setItem(mark, move);
  } catch { return; }
  location.reload();
}
const ICONS = { done: "check-circle", current: "dot", todo: "circle", failed: "x-circle" };
function mark(item, state) {
  if (item.dataset.state === state) return;
  item.dataset.state = state;
  item.toggleAttribute("aria-current", false);
  if (state === "current") item.setAttribute("aria-current", "step");
  const use = item.querySelector("use");
  use?.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${ICONS[state]}`));
}

let source = null;
let wait = 1000;
let last = page.dataset.liveLastId || "";
function connect() {
  const address = new URL(page.dataset.liveUrl, location.href);
  // EventSource sends Last-Event-ID itself when it reconnects; a source that had to be made anew says it in the address.
  if (last) address.searchParams.set("last_event_id", last);
  source = new EventSource(address);
  source.addEventListener("open", () => { wait = 1000; page.dataset.liveConnection = "open"; say("connection", ""); });
  for (const name of Object.keys(on)) {
    source.addEventListener(name, (message) => {
      if (message.lastEventId) last = message.lastEventId;
      try { on[name](JSON.parse(message.data), message.lastEventId); } catch (error) { console.warn(`Ignored a ${name} event that could not be read:`, error); }
    });
  }
  source.addEventListener("error", () => {
    page.dataset.liveConnection = "lost";
    say("connection", page.dataset.liveLost || "Connection lost. Trying again; the job goes on meanwhile.");
    if (source.readyState !== EventSource.CLOSED) return;
    // Closed for good by an answer that was not a stream (a restart, a proxy): try again, ever more slowly.
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 30_000);
  });
}
if (page && !TERMINAL.has(page.dataset.liveState)) connect();
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => { if (event.persisted && source?.readyState === EventSource.CLOSED) connect(); });
