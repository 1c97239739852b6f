// The console's page: draws what /events sends once a second. No libraries, nothing from elsewhere.

const SVG = "http://www.w3.org/2000/svg";
const SECTIONS = ["pipeline", "partitions", "distributions", "alerts", "signals", "dead", "check"];
const $ = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en");
const whole = (x) => count.format(Math.round(x));
const rate = (x) => (x >= 10 || x === 0 ? whole(x) : x.toFixed(1)) + "/s";
const value = (x) => (x === null ? "–" : Math.abs(x) >= 1000 ? whole(x) : String(Number(x.toPrecision(4))));
const moment = (ms) => (ms === null ? "–" : new Date(ms).toISOString().slice(0, 19).replace("T", " "));

let state = null; // the newest payload
let chosen = null; // the quantity that is shown

// --- building and keeping elements

function make(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, given] of Object.entries(attributes)) set(element, name, given);
  element.append(...children);
  return element;
}
const SVG_TAGS = new Set(["svg", "g", "path", "rect", "circle", "line", "text", "title"]);

function set(element, name, given) {
  if (element.getAttribute(name) !== String(given)) element.setAttribute(name, given);
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Keeps one child for each item, so that focus, selection and what is unfolded stay as they were.
function keep(parent, items, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = known.get(name);
    known.delete(name);
    if (!child) {
      child = create(item);
      child.dataset.key = name;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update(child, item);
  }
  for (const gone of known.values()) gone.remove();
}

function nothing(parent, items, text) {
  const there = parent.querySelector(":scope > .nothing");
  if (items.length) there?.remove();
  else if (!there) parent.replaceChildren(make("p", { class: "nothing" }, text));
}

// --- summary

const TILES = [
  ["processed_per_s", "events a second", whole],
  ["lag", "events waiting", whole],
  ["windows", "windows closed", whole],
  ["alerts_open", "alerts open", whole],
  ["late", "late rows", whole],
  ["dead", "dead letters", whole],
];

function drawSummary({ summary }) {
  keep($("summary"), TILES, ([name]) => name,
    ([, label]) => make("div", { class: "tile" }, make("b"), make("span", {}, label)),
    (tile, [name, , form]) => say(tile.firstChild, form(summary[name])));
}

// --- the pipeline as a graph

const outputs = ({ kinds }) => [["windows", kinds[0]], ["alerts", kinds[1]], ["late", "late"], ["dead", "dead letters"]];
const ROWS = [26, 74, 122, 170];

function createFlow({ counts }) {
  const svg = make("svg", { viewBox: "0 0 700 200", role: "img" });
  svg.append(make("title"));
  const edge = (name, d) => svg.append(make("path", { class: "edge", d, "data-edge": name }));
  const node = (name, x, y, width, height, title) => {
    svg.append(make("rect", { class: "node", x, y, width, height, rx: 8 }),
      make("text", { x: x + 12, y: y + 18, class: "strong" }, title),
      make("text", { x: x + 12, y: y + 35, class: "soft small", "data-text": name }));
  };
  edge("produced", "M190 98 H290");
  for (const [i, [name]] of outputs(counts).entries()) edge(name, `M430 98 C480 98 480 ${ROWS[i]} 530 ${ROWS[i]}`);
  node("source", 0, 74, 190, 46, counts.source.length > 24 ? counts.source.slice(0, 23) + "…" : counts.source);
  node("workers", 290, 74, 140, 46, counts.pipeline);
  for (const [i, [name, title]] of outputs(counts).entries()) node(name, 530, ROWS[i] - 22, 165, 44, title);
  svg.append(make("text", { x: 240, y: 88, class: "soft small middle", "data-text": "in" }));
  return make("div", { class: "flow" }, svg);
}

function updateFlow(element, { counts, rates }) {
  const text = (name, given) => say(element.querySelector(`[data-text="${name}"]`), given);
  text("source", `${whole(counts.produced)} events`);
  text("workers", `${whole(counts.processed)} processed`);
  text("in", rate(rates.processed));
  for (const [name] of outputs(counts)) text(name, `${whole(counts[name])}  ·  ${rate(rates[name])}`);
  for (const edge of element.querySelectorAll(".edge")) {
    const pace = rates[edge.dataset.edge === "produced" ? "processed" : edge.dataset.edge];
    const bad = edge.dataset.edge === "dead" && pace > 0;
    set(edge, "class", `edge ${pace > 0 ? "moving" : "idle"}${bad ? " bad" : ""}`);
    set(edge, "stroke-width", (1.5 + Math.min(6, Math.log10(1 + pace) * 1.4)).toFixed(1));
  }
  say(element.querySelector("title"),
    `${counts.pipeline}: ${rate(rates.processed)} in, ${outputs(counts).map(([name, title]) => `${rate(rates[name])} ${title}`).join(", ")}`);
}

function drawPipeline({ pipeline, workers }) {
  keep($("flows"), pipeline, (flow) => flow.counts.pipeline, createFlow, updateFlow);
  keep($("workers"), workers, (worker) => worker.name,
    () => make("div", { class: "worker" }, make("b"), make("span")),
    (element, worker) => {
      set(element, "class", worker.alive ? "worker" : "worker gone");
      say(element.firstChild, worker.name);
      say(element.lastChild, worker.alive ? `${worker.partitions} partitions, ${rate(worker.events_per_s)}` : "no answer");
    });
}

// --- partitions

function drawPartitions({ partitions }) {
  const most = Math.max(1, ...partitions.map((row) => row.lag ?? 0));
  keep($("partition-rows"), partitions, (row) => `${row.topic} ${row.partition}`,
    () => {
      const bar = make("span", { class: "bar" }, make("i"));
      return make("tr", {}, make("td"), make("td"), make("td", { class: "number" }),
        make("td", { class: "number" }, make("span", { class: "lag" }, bar, make("span"))), make("td"));
    },
    (tr, row) => {
      const [place, owner, position, lag, watermark] = tr.children;
      say(place, `${row.topic} ${row.partition}`);
      say(owner, row.owner || "nobody");
      set(owner, "class", row.owner ? "" : "nobody");
      say(position, row.position === null ? "–" : whole(row.position));
      say(lag.firstChild.lastChild, row.lag === null ? "–" : whole(row.lag));
      lag.querySelector("i").style.width = `${(100 * (row.lag ?? 0)) / most}%`;
      say(watermark, moment(row.watermark));
    });
}

// --- distributions

const LEFT = 96, RIGHT = 190, WIDE = 700, TALL = 50;

function keyOf(picture) {
  return `${picture.pipeline} ${picture.quantity}`;
}

function drawDistributions({ distributions }) {
  const holder = $("ridges");
  nothing(holder, distributions, "No window has closed yet.");
  keep($("quantities"), distributions, keyOf,
    (picture) => {
      const twice = distributions.filter((each) => each.quantity === picture.quantity).length > 1;
      const button = make("button", { type: "button" }, picture.quantity.replaceAll("_", " ") + (twice ? ` · ${picture.pipeline}` : ""));
      button.addEventListener("click", () => {
        chosen = button.dataset.key;
        drawDistributions(state);
      });
      return button;
    },
    (button, picture) => set(button, "aria-pressed", String(keyOf(picture) === (chosen ?? keyOf(distributions[0])))));
  const picture = distributions.find((each) => keyOf(each) === chosen) ?? distributions[0];
  if (!picture) return;
  const more = picture.more_sites ? ` ${picture.more_sites} more sites are not shown.` : "";
  say($("legend"), `${picture.pipeline}, ${picture.unit}, ${moment(picture.start)} to ${moment(picture.end).slice(11)}. Filled: now; dashed: before; the stroke is the median.${more}`);
  keep(holder, [picture], (each) => `${keyOf(each)} ${each.sites.length}`, createRidges, updateRidges);
}

function createRidges(picture) {
  const height = TALL * picture.sites.length + 44;
  const svg = make("svg", { viewBox: `0 0 ${WIDE} ${height}`, role: "img" });
  svg.append(make("title"));
  for (let i = 0; i < 5; i++) {
    const x = LEFT + ((WIDE - LEFT - RIGHT) * i) / 4;
    svg.append(make("line", { class: "grid", x1: x, x2: x, y1: 16, y2: height - 22 }),
      make("text", { class: "soft small middle", x, y: height - 6, "data-tick": i }));
  }
  svg.append(make("text", { class: "soft small end", x: WIDE - 98, y: 10 }, "median"),
    make("text", { class: "soft small end", x: WIDE, y: 10 }, "moved (W₁)"));
  for (const [i] of picture.sites.entries()) {
    const y = 16 + TALL * (i + 1);
    svg.append(make("g", { transform: `translate(0 ${y})`, "data-row": i },
      make("line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: 0, y2: 0 }),
      make("path", { class: "now" }), make("path", { class: "before" }), make("line", { class: "median" }),
      make("text", { x: 0, y: -4 }), make("text", { class: "end", x: WIDE - 98, y: -4 }),
      make("text", { class: "end soft small", x: WIDE, y: -4 })));
  }
  return make("div", {}, svg);
}

function updateRidges(element, picture) {
  const wide = WIDE - LEFT - RIGHT;
  const x = (given) => LEFT + (wide * (given - picture.low)) / (picture.high - picture.low);
  for (const tick of element.querySelectorAll("[data-tick]"))
    say(tick, value(Number((picture.low + ((picture.high - picture.low) * tick.dataset.tick) / 4).toPrecision(3))));
  const said = [];
  for (const row of element.querySelectorAll("[data-row]")) {
    const site = picture.sites[row.dataset.row];
    const [, now, before, median, name, middle, moved] = row.children;
    set(now, "d", outline(site.now, wide) + "Z");
    set(before, "d", site.before ? outline(site.before, wide) : "");
    const half = site.quantiles[picture.levels.indexOf(0.5)];
    for (const [attribute, given] of [["x1", x(half)], ["x2", x(half)], ["y1", 0], ["y2", -14]]) set(median, attribute, given);
    say(name, site.site);
    say(middle, value(half));
    say(moved, site.distance === null ? "–" : `${value(Number(site.distance.toPrecision(2)))} ± ${value(Number(site.bound.toPrecision(1)))}`);
    said.push(`${site.site}: median ${value(half)}`);
  }
  say(element.querySelector("title"), `Distributions of ${picture.quantity} in ${picture.unit} by site. ${said.join("; ")}`);
}

// A density as a line through the middles of its cells, down to the base at both ends.
function outline(heights, wide) {
  const cell = wide / heights.length;
  const points = heights.map((height, i) => `L${(LEFT + cell * (i + 0.5)).toFixed(1)} ${((-height * (TALL - 8)) / 1000).toFixed(1)}`);
  return `M${LEFT} 0${points.join("")}L${LEFT + wide} 0`;
}

// --- alerts

function drawAlerts({ alerts }) {
  const holder = $("alert-rows");
  nothing(holder, alerts, "No alert has been raised.");
  keep(holder, alerts, (alert) => alert.alert_id,
    () => make("details", { class: "item" },
      make("summary", {}, make("span"), make("span"), make("span", { class: "what" }, make("span"), make("small")), make("time")),
      make("dl")),
    (item, alert) => {
      if (item.dataset.revision === alert.id) return;
      item.dataset.revision = alert.id;
      const [badge, rule, what, time] = item.firstChild.children;
      const closed = alert.state === "close";
      set(badge, "class", `badge ${closed ? "closed" : alert.severity}`);
      say(badge, closed ? "closed" : alert.severity);
      say(rule, alert.rule);
      say(what.firstChild, alert.group);
      say(what.lastChild, alert.message);
      say(time, moment(alert.time));
      const facts = { pipeline: alert.pipeline, kind: alert.kind, "opened at": moment(alert.opened_at), value: alert.value,
        threshold: alert.threshold, "caused by": `partition ${alert.partition}, offset ${alert.offset}`, ...alert.labels, ...alert.evidence };
      item.lastChild.replaceChildren(...Object.entries(facts).flatMap(([name, given]) =>
        [make("dt", {}, name), make("dd", {}, typeof given === "number" ? value(given) : String(given ?? "–"))]));
    });
}

// --- safety signals

const COURSE = { width: 200, height: 44, margin: 5 };
const STEPS = { open: "warning", strengthened: "critical", weakened: "info", closed: "closed" };

function drawSignals({ signals, pipeline }) {
  const holder = $("signal-rows");
  if (signals.length || pipeline.some((flow) => flow.counts.kinds[1] === "signals")) document.body.dataset.signals = "";
  nothing(holder, signals, "No signal has been raised.");
  keep(holder, signals, (signal) => signal.signal_id,
    () => make("details", { class: "item" },
      make("summary", {}, make("span"), make("span"), make("span", { class: "what" }, make("span"), make("small")), createCourse()),
      make("dl")),
    (item, signal) => {
      const last = signal.course.at(-1);
      const version = `${signal.step} ${signal.time} ${last[0]} ${signal.course.length}`;
      if (item.dataset.version === version) return;
      item.dataset.version = version;
      const [badge, preset, what, course] = item.firstChild.children;
      set(badge, "class", `badge ${STEPS[signal.step]}`);
      say(badge, signal.step);
      say(preset, signal.preset);
      say(what.firstChild, `${signal.drug} + ${signal.event}`);
      say(what.lastChild, `${whole(last[1])} reports, ${whole(signal.evidence.serious)} serious, ${value(signal.evidence.expected)} expected; since ${moment(signal.opened_at).slice(0, 10)}`);
      updateCourse(course, signal);
      const days = (signal.opened_at - signal.first_report) / 86400000;
      const facts = { pipeline: signal.pipeline, "opened at": moment(signal.opened_at), "first report": moment(signal.first_report),
        "time to signal": `${value(days)} days`, boundary: `${signal.measure} ${value(signal.boundary)}`, ...signal.evidence };
      item.lastChild.replaceChildren(...Object.entries(facts).flatMap(([name, given]) =>
        [make("dt", {}, name), make("dd", {}, typeof given === "number" ? value(given) : String(given ?? "–"))]));
    });
}

function createCourse() {
  const svg = make("svg", { class: "course", viewBox: `0 0 ${COURSE.width} ${COURSE.height}`, role: "img" });
  svg.append(make("title"), make("line", { x1: 0, x2: COURSE.width }), make("path"), make("circle", { r: 3 }));
  return svg;
}

function updateCourse(svg, { course, measure, boundary }) {
  // Ratios by their logarithm, so that twice and half are equally far; the others are logarithms already.
  const scale = ["ic025", "llr"].includes(measure) ? (x) => x : (x) => Math.log2(Math.max(x, 1e-3));
  const points = course.filter(([, , x]) => x !== null).map(([time, , x]) => [time, scale(x)]);
  const [title, line, path, end] = svg.children;
  const heights = [scale(boundary), ...points.map(([, x]) => x)];
  const low = Math.min(...heights), high = Math.max(...heights);
  const { width, height, margin } = COURSE;
  const y = (x) => (height - margin - ((height - 2 * margin) * (x - low)) / (high - low || 1)).toFixed(1);
  const begin = points[0]?.[0] ?? 0, span = (points.at(-1)?.[0] ?? 0) - begin;
  const x = (time) => (span ? margin + ((width - 2 * margin) * (time - begin)) / span : width - margin).toFixed(1);
  set(line, "y1", y(scale(boundary)));
  set(line, "y2", y(scale(boundary)));
  set(path, "d", points.map(([time, given], i) => `${i ? "L" : "M"}${x(time)} ${y(given)}`).join(""));
  const last = points.at(-1);
  set(end, "cx", last ? x(last[0]) : -9);
  set(end, "cy", last ? y(last[1]) : -9);
  say(title, `${measure} ${value(course.at(-1)[2])}, boundary ${value(boundary)}, ${course.length} states`);
}

// --- dead letters

function drawDead({ dead, samples }) {
  const reasons = Object.entries(dead).sort((a, b) => b[1] - a[1]);
  const most = Math.max(1, ...reasons.map(([, n]) => n));
  nothing($("reasons"), reasons, "None so far.");
  keep($("reasons"), reasons, ([code]) => code,
    ([code]) => make("div", { class: "reason" }, make("span", {}, code.replaceAll("_", " ")),
      make("span", { class: "bar" }, make("i")), make("span", { class: "number" })),
    (row, [, n]) => {
      row.querySelector("i").style.width = `${(100 * n) / most}%`;
      say(row.lastChild, whole(n));
    });
  keep($("sample-rows"), samples.slice(0, 8), (sample) => `${sample.topic} ${sample.partition} ${sample.offset}`,
    (sample) => make("tr", {}, make("td", {}, sample.code.replaceAll("_", " ")), make("td", {}, `${sample.topic} ${sample.partition}`),
      make("td", { class: "number" }, whole(sample.offset)), make("td", { class: "number" }, whole(sample.size)),
      make("td", { class: "outline" }, make("code", {}, sample.outline))),
    () => {});
}

// --- self-check

function drawCheck({ check }) {
  keep($("checks"), check, (each) => each.name,
    () => make("div", { class: "item check" }, make("span"), make("div", {}, make("span"), make("small"), make("small"))),
    (item, each) => {
      set(item.firstChild, "class", `badge ${each.state}`);
      say(item.firstChild, each.state);
      const [name, detail, remedy] = item.lastChild.children;
      say(name, each.name);
      say(detail, each.detail);
      say(remedy, each.remedy);
    });
}

// --- the page itself

const DRAW = [drawSummary, drawPipeline, drawPartitions, drawDistributions, drawAlerts, drawSignals, drawDead, drawCheck];

function go(path) {
  const section = SECTIONS.includes(path.slice(1)) ? path.slice(1) : "";
  document.body.dataset.section = section;
  for (const name of SECTIONS) $(name).hidden = section !== "" && section !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `/${section}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function status(kind, text) {
  set($("status"), "class", `status ${kind}`);
  say($("status").lastChild, text);
}

function theme(name) {
  document.documentElement.dataset.theme = name;
}

document.querySelector("nav").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", link.getAttribute("href"));
  go(location.pathname);
});
addEventListener("popstate", () => go(location.pathname));
$("theme").addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("tidewatch-theme", next);
  theme(next);
});
theme(localStorage.getItem("tidewatch-theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
go(location.pathname);

const source = new EventSource("/events");
source.addEventListener("state", (event) => {
  state = JSON.parse(event.data);
  for (const draw of DRAW) draw(state);
  document.body.dataset.updated = state.time;
  status("live", "live");
});
source.addEventListener("error", () => status("lost", "reconnecting"));
