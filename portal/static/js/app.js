// What every page needs: theme, dialogs, drawer, copying, local times, tabs, forms and keyboard. Pages work without it.
// Everything listens on the document, so that fragments swapped in by htmx need no set-up of their own.

const root = document.documentElement;
const remembered = {
  get(name) { try { return localStorage.getItem(`gatehouse.${name}`); } catch { return null; } },
  set(name, value) { try { value ? localStorage.setItem(`gatehouse.${name}`, value) : localStorage.removeItem(`gatehouse.${name}`); } catch { /* kept for this page only */ } },
};
const within = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);

// Theme -------------------------------------------------------------------------------------------------------------
function showTheme() {
  const chosen = root.dataset.theme ?? "";
  for (const button of document.querySelectorAll("[data-theme-value]")) button.setAttribute("aria-pressed", String(button.dataset.themeValue === chosen));
}
function chooseTheme(value) {
  if (value) root.dataset.theme = value; else delete root.dataset.theme;
  remembered.set("theme", value);
  showTheme();
  document.dispatchEvent(new CustomEvent("gatehouse:theme"));
}

// Dialogs and drawer ------------------------------------------------------------------------------------------------
function openDialog(id) {
  const dialog = document.getElementById(id);
  if (!(dialog instanceof HTMLDialogElement) || dialog.open) return;
  document.querySelector("[popover]:popover-open")?.hidePopover();
  dialog.showModal();
  dialog.querySelector("[autofocus], input:not([type=hidden]), textarea, select")?.focus();
}
function drawer(open) {
  const opener = document.querySelector("[data-drawer-open]");
  const sidebar = document.getElementById("sidebar");
  if (!opener || !sidebar) return;
  document.body.classList.toggle("drawer-open", open);
  opener.setAttribute("aria-expanded", String(open));
  document.querySelector(".column")?.toggleAttribute("inert", open);
  document.querySelector(".drawer-scrim")?.remove();
  if (open) {
    const scrim = document.createElement("div");
    scrim.className = "drawer-scrim";
    scrim.addEventListener("click", () => drawer(false));
    document.body.append(scrim);
    sidebar.querySelector("a, button")?.focus();
  } else opener.focus();
}

// Copying -----------------------------------------------------------------------------------------------------------
async function copy(button) {
  const text = button.dataset.copy ?? (button.dataset.copyFrom === "closest" ? button.closest(".code")?.querySelector("code") : document.querySelector(button.dataset.copyFrom))?.textContent ?? "";
  let done = true;
  try { await navigator.clipboard.writeText(text); } catch {
    // The clipboard interface exists only on https and localhost; elsewhere the old command still works.
    const area = Object.assign(document.createElement("textarea"), { value: text, className: "visually-hidden" });
    (button.closest("dialog") ?? document.body).append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  announce(done ? root.dataset.copied ?? "Copied" : root.dataset.notCopied ?? "Could not copy");
  if (!done) return;
  const use = button.querySelector("use");
  if (!use || button.dataset.copied) return;
  const before = use.getAttribute("href");
  button.dataset.copied = "yes";
  use.setAttribute("href", before.replace(/#.*/, "#check"));
  setTimeout(() => { use.setAttribute("href", before); delete button.dataset.copied; }, 1600);
}
export function announce(text) {
  let region = document.getElementById("announcer");
  if (!region) {
    region = Object.assign(document.createElement("div"), { id: "announcer", className: "visually-hidden" });
    region.setAttribute("aria-live", "polite");
    document.body.append(region);
  }
  region.textContent = "";
  requestAnimationFrame(() => { region.textContent = text; });
}

// Times -------------------------------------------------------------------------------------------------------------
const language = root.lang || undefined;
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const formats = {
  date: new Intl.DateTimeFormat(language, { dateStyle: "medium" }),
  datetime: new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }),
  exact: new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" }),
};
function ago(moment) {
  const seconds = (moment.getTime() - Date.now()) / 1000;
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return unit === "day" && Math.abs(seconds) > 14 * size ? formats.date.format(moment) : relative.format(Math.round(seconds / size), unit);
  }
  return relative.format(0, "second");
}
export function localTimes(scope = document) {
  for (const element of scope.querySelectorAll("time[data-time]")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    element.title = `${formats.exact.format(moment)} (${element.dateTime})`;
    element.textContent = element.dataset.time === "relative" ? ago(moment) : formats[element.dataset.time]?.format(moment) ?? element.textContent;
  }
}

// Tabs --------------------------------------------------------------------------------------------------------------
let made = 0;
function makeTabs(scope = document) {
  for (const box of scope.querySelectorAll("[data-tabs]:not([data-ready])")) {
    box.dataset.ready = "yes";
    const panels = [...box.querySelectorAll(":scope > [data-tab]")];
    if (panels.length < 2) continue;
    const list = document.createElement("div");
    list.className = "tabs";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", box.getAttribute("aria-label") ?? "");
    box.removeAttribute("aria-label");
    const show = (index, focus) => panels.forEach((panel, at) => {
      panel.hidden = at !== index;
      const tab = list.children[at];
      tab.setAttribute("aria-selected", String(at === index));
      tab.tabIndex = at === index ? 0 : -1;
      if (at === index && focus) tab.focus();
    });
    panels.forEach((panel, index) => {
      const id = panel.id || `panel-${++made}`;
      const tab = Object.assign(document.createElement("button"), { type: "button", id: `${id}-tab`, textContent: panel.dataset.tab });
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", id);
      Object.assign(panel, { id });
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      tab.addEventListener("click", () => show(index, false));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        const to = step ? (index + step + panels.length) % panels.length : { Home: 0, End: panels.length - 1 }[event.key];
        if (to !== undefined) { event.preventDefault(); show(to, true); }
      });
      list.append(tab);
    });
    box.prepend(list);
    show(0, false);
  }
}

// Forms -------------------------------------------------------------------------------------------------------------
function busy(form, submitter) {
  // Disabling in the same turn would drop the pressed button's own name and value from what is sent.
  setTimeout(() => {
    for (const button of form.querySelectorAll("button:not([type=button]), input[type=submit]")) button.disabled = true;
    submitter?.setAttribute("aria-busy", "true");
  });
}
function ready(form) {
  for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  for (const button of form.querySelectorAll("button:not([type=button]), input[type=submit]")) button.disabled = false;
  delete form.dataset.sent;
}
function uploadWithProgress(form, submitter) {
  const bar = form.querySelector("progress[data-upload-bar]") ?? form.appendChild(Object.assign(document.createElement("progress"), { max: 100 }));
  bar.dataset.uploadBar = "";
  bar.setAttribute("aria-label", form.dataset.uploadProgress || "Upload");
  const box = bar.closest("[data-upload-box]") ?? bar;
  box.hidden = false;
  const words = form.querySelector("[data-upload-text]");
  // A button called "action" would hide the property of the same name.
  const address = new URL(form.getAttribute("action") || location.href, location.href).href;
  const request = new XMLHttpRequest();
  request.open("POST", address);
  request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
  request.upload.addEventListener("progress", (event) => {
    if (!event.lengthComputable) return;
    bar.max = event.total;
    bar.value = event.loaded;
    if (words) words.textContent = `${Math.floor((100 * event.loaded) / event.total)} %`;
  });
  // All bytes are out but the server is still reading the table: show that something goes on without a number.
  request.upload.addEventListener("load", () => bar.removeAttribute("value"));
  request.addEventListener("load", () => {
    const answer = new DOMParser().parseFromString(request.responseText, "text/html");
    if (request.responseURL && request.responseURL !== address) { handOver(answer); location.assign(request.responseURL); return; }
    if (request.status === 413 || request.status >= 500) { giveUp(); return; }
    // The same address answered, so the form came back with errors: show the answer as the browser would have.
    const main = answer.getElementById("main");
    if (!main) { location.reload(); return; }
    const kept = [...form.querySelectorAll("input[type=file]")].map((input) => [input.name, input.files]);
    document.getElementById("main").replaceWith(main);
    document.title = answer.title;
    for (const [name, files] of kept) {
      const input = main.querySelector(`input[type=file][name="${CSS.escape(name)}"]`);
      if (input && files?.length) input.files = files;
    }
    for (const notice of answer.querySelectorAll("[data-toasts] .notice")) document.querySelector("[data-toasts]")?.append(notice);
    start(main);
    main.querySelector("[data-focus]")?.focus();
  });
  const giveUp = () => {
    box.hidden = true;
    ready(form);
    toast(form.dataset.uploadFailed || root.dataset.uploadFailed || "The upload failed. What you typed is still here; try again.", "bad");
  };
  request.addEventListener("error", giveUp);
  request.send(new FormData(form, submitter));
}
function drawing(name) {
  const svg = document.querySelector("svg.icon")?.cloneNode(true) ?? document.createElement("span");
  const use = svg.querySelector("use");
  use?.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${name}`));
  return svg;
}
export function toast(text, tone = "info") {
  const list = document.querySelector("[data-toasts]");
  if (!list) return;
  const notice = Object.assign(document.createElement("div"), { className: `notice tone-${tone}` });
  notice.dataset.notice = "";
  const close = Object.assign(document.createElement("button"), { type: "button", className: "btn btn-ghost btn-icon btn-small" });
  close.dataset.dismiss = "";
  close.setAttribute("aria-label", root.dataset.dismissLabel || "Dismiss");
  close.append(drawing("x"));
  notice.append(drawing({ good: "check-circle", warn: "warning", bad: "x-circle" }[tone] ?? "info"), Object.assign(document.createElement("p"), { textContent: text }), close);
  list.append(notice);
}
// Messages that came with an answer nobody saw (see uploadWithProgress) are shown by the page that follows.
const handedOver = "gatehouse.toasts";
function handOver(answer) {
  const notices = [...answer.querySelectorAll("[data-toasts] .notice")].map((notice) => [notice.querySelector("p")?.textContent ?? "", /tone-(\w+)/.exec(notice.className)?.[1]]);
  try { sessionStorage.setItem(handedOver, JSON.stringify(notices)); } catch { /* the messages are lost, the upload is not */ }
}
function takeOver() {
  try {
    for (const [text, tone] of JSON.parse(sessionStorage.getItem(handedOver) ?? "[]")) toast(text, tone);
    sessionStorage.removeItem(handedOver);
  } catch { /* nothing was handed over */ }
}

// Keyboard ----------------------------------------------------------------------------------------------------------
const places = { h: "home", u: "use-cases", d: "datasets", t: "training", m: "models", r: "reviews" };
const paths = { h: "/", u: "/use-cases/", d: "/datasets/", t: "/training/", m: "/models/", r: "/reviews/" };
let waitingForPlace = 0;
const singleKeys = () => remembered.get("shortcuts") !== "off";
const typing = (element) => element instanceof Element && element.matches("input:not([type=checkbox], [type=radio], [type=button], [type=submit]), textarea, select, [contenteditable]");
function moveRow(step) {
  const rows = [...document.querySelectorAll("[data-rows] > tbody > tr, ul[data-rows] > li, ol[data-rows] > li")].filter((row) => row.offsetParent);
  if (!rows.length) return;
  const now = rows.findIndex((row) => row.contains(document.activeElement));
  const row = rows[Math.min(rows.length - 1, Math.max(0, now < 0 ? (step > 0 ? 0 : rows.length - 1) : now + step))];
  const link = row.querySelector("a, button");
  if (link) link.focus(); else { row.tabIndex = -1; row.focus(); }
  row.scrollIntoView({ block: "nearest" });
}
function onKey(event) {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
    if (document.getElementById("search")) { event.preventDefault(); openDialog("search"); }
    return;
  }
  if (event.key === "Escape") {
    if (document.body.classList.contains("drawer-open")) drawer(false);
    const menu = document.querySelector("details[data-menu][open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
    return;
  }
  if (event.target instanceof Element && event.target.closest("#search") && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const stops = [document.getElementById("search-q"), ...document.querySelectorAll("#search-results a")];
    const next = stops[stops.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) { event.preventDefault(); next.focus(); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target) || !singleKeys() || document.querySelector("dialog:modal")) return;
  const soon = Date.now() - waitingForPlace < 1200;
  waitingForPlace = 0;
  if (soon && places[event.key]) {
    event.preventDefault();
    location.assign(document.querySelector(`.nav a[data-key="${places[event.key]}"]`)?.href ?? paths[event.key]);
  } else if (event.key === "g") waitingForPlace = Date.now();
  else if (event.key === "?") openDialog("shortcuts");
  else if (event.key === "j") moveRow(1);
  else if (event.key === "k") moveRow(-1);
  else if (event.key === "/") {
    event.preventDefault();
    const filter = document.querySelector("main input[type=search], main [data-filter]");
    if (filter) filter.focus(); else openDialog("search");
  }
}

// Listening ---------------------------------------------------------------------------------------------------------
let pressed = null;
document.addEventListener("pointerdown", (event) => { pressed = event.target; });
document.addEventListener("click", (event) => {
  const opener = within(event, "[data-dialog-open]");
  if (opener) { event.preventDefault(); openDialog(opener.dataset.dialogOpen); return; }
  if (within(event, "[data-dialog-close]")) { event.target.closest("dialog")?.close(); return; }
  if (event.target instanceof HTMLDialogElement && event.target.matches("[data-dialog]")) {
    const box = event.target.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    // A selection dragged out of a text field ends on the backdrop too: only a click that began there closes.
    if (!inside && event.detail > 0 && pressed === event.target) event.target.close();
    return;
  }
  if (within(event, "[data-drawer-open]")) { drawer(true); return; }
  if (within(event, "[data-drawer-close]")) { drawer(false); return; }
  const dismissed = within(event, "[data-dismiss]");
  if (dismissed) { dismissed.closest("[data-notice]")?.remove(); return; }
  const copier = within(event, "[data-copy], [data-copy-from]");
  if (copier) { copy(copier); return; }
  const theme = within(event, "[data-theme-value]");
  if (theme) chooseTheme(theme.dataset.themeValue);
  for (const menu of document.querySelectorAll("details[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("change", (event) => {
  if (within(event, "[data-shortcuts-switch]")) remembered.set("shortcuts", event.target.checked ? "" : "off");
  const submits = within(event, "[data-submit-on-change]");
  if (submits) submits.form?.requestSubmit();
  const all = within(event, "[data-check-all]");
  if (all) for (const box of all.closest("table, form").querySelectorAll("tbody input[type=checkbox]")) box.checked = all.checked;
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || event.defaultPrevented || form.dataset.keepEnabled !== undefined || /^(get|dialog)$/i.test(form.getAttribute("method") ?? "get") || form.hasAttribute("hx-post")) return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  busy(form, event.submitter);
  const hasFile = [...form.querySelectorAll("input[type=file]")].some((input) => input.files?.length);
  if (form.dataset.uploadProgress !== undefined && hasFile && window.XMLHttpRequest && window.FormData) {
    event.preventDefault();
    uploadWithProgress(form, event.submitter);
  }
});
document.addEventListener("keydown", onKey);
// Coming back with the browser's Back button restores the page as it was left, busy buttons included.
window.addEventListener("pageshow", (event) => { if (event.persisted) for (const form of document.querySelectorAll("form[data-sent]")) ready(form); });
document.addEventListener("htmx:afterSettle", (event) => start(event.target));
document.addEventListener("htmx:responseError", () => toast(root.dataset.failed || "The server could not answer. Try again in a moment.", "bad"));
document.addEventListener("htmx:sendError", () => toast(root.dataset.offline || "No connection to the server. Try again in a moment.", "bad"));

function start(scope) {
  localTimes(scope);
  makeTabs(scope);
}
start(document);
showTheme();
setInterval(() => localTimes(), 60_000);
if (/Mac|iP(hone|ad)/.test(navigator.platform)) for (const key of document.querySelectorAll("[data-mod-key]")) key.textContent = key.textContent.replace("Ctrl", "⌘");
const shortcuts = document.querySelector("[data-shortcuts-switch]");
if (shortcuts) shortcuts.checked = singleKeys();
document.querySelector("main [data-focus]")?.focus();
takeOver();
