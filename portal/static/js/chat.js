// The chat page: sends the conversation to /v1/chat/completions in the reader's own session and shows the answer as it
// comes. What was said lives in this page alone.

import { announce } from "./app.js";

const box = document.querySelector("[data-chat]");
const part = (name) => box.querySelector(`[data-chat-${name}]`);
const form = part("form");
const log = part("log");
const field = form.elements.text;
const words = part("words").content;
const names = { user: words.querySelector("[data-you]").textContent, assistant: words.querySelector("[data-it]").textContent };
const said = [];
let running = null;

function show(role, text) {
  const item = part("message").content.firstElementChild.cloneNode(true);
  item.classList.toggle("is-mine", role === "user");
  item.querySelector(".chat-who").textContent = names[role];
  item.querySelector(".chat-text").textContent = text;
  log.append(item);
  part("empty").hidden = true;
  part("clear").hidden = false;
  return item;
}
function complain(text) {
  const item = document.createElement("li");
  const alert = document.createElement("div");
  alert.setAttribute("role", "alert");
  alert.append(part("problem").content.cloneNode(true));
  alert.querySelector("p").textContent = text;
  item.append(alert);
  item.dataset.problem = "";
  log.append(item);
  item.scrollIntoView({ block: "nearest" });
}
function busy(on) {
  part("stop").hidden = !on;
  part("send").disabled = on;
  part("clear").disabled = on;
  for (const button of log.querySelectorAll("[data-chat-again]")) button.disabled = on;
}
function follow() {
  // Only who reads at the end is taken along; whoever scrolled up stays where they are.
  const left = document.documentElement.scrollHeight - window.scrollY - window.innerHeight;
  if (left < 160) window.scrollTo({ top: document.documentElement.scrollHeight });
}

// What the reader says of an answer, by the number of its call; said again, it replaces what was said.
async function opine(item, thumb) {
  const comment = item.querySelector("[data-chat-comment]");
  const response = await fetch(box.dataset.feedback.replace("/0/", `/${item.dataset.call}/`), {
    method: "POST",
    headers: { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value, "HX-Request": "true" },
    body: new URLSearchParams({ thumb, comment: comment.elements.comment.value }),
  }).catch(() => null);
  if (!response?.ok) return complain(document.documentElement.dataset.offline);
  item.dataset.thumb = thumb;
  for (const button of item.querySelectorAll("[data-chat-thumb]")) button.setAttribute("aria-pressed", String(button.dataset.chatThumb === thumb));
  comment.hidden = false;
  item.querySelector("[data-chat-note]").textContent = box.dataset.thanks;
  announce(box.dataset.thanks);
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const one of parts) if (one.startsWith("data: ") && one !== "data: [DONE]") yield JSON.parse(one.slice(6));
  }
}

async function ask() {
  for (const problem of log.querySelectorAll("[data-problem]")) problem.remove();
  const system = document.getElementById("chat-system").value.trim();
  const item = show("assistant", "");
  const text = item.querySelector(".chat-text");
  item.classList.add("is-writing");
  running = new AbortController();
  busy(true);
  part("status").textContent = box.dataset.writing;
  let answer = "", note = "", problem = "", usage = null;
  const begun = performance.now();
  try {
    const response = await fetch(box.dataset.url, {
      method: "POST",
      signal: running.signal,
      headers: { "Content-Type": "application/json", "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
      body: JSON.stringify({
        model: box.dataset.model,
        messages: [...(system ? [{ role: "system", content: system }] : []), ...said],
        temperature: Number(document.getElementById("chat-temperature").value),
        max_tokens: Number(document.getElementById("chat-length").value),
        stream: true,
        stream_options: { include_usage: true },
      }),
    });
    if (!response.ok) {
      const body = await response.json().catch(() => ({}));
      throw new Error(body.error?.message ?? body.detail ?? box.dataset.broken);
    }
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      usage = event.usage ?? usage;
      if (event.governance?.call) item.dataset.call = event.governance.call;
      const choice = event.choices[0];
      if (!choice) continue;
      if (choice.delta.content) {
        answer += choice.delta.content;
        text.textContent = answer;
        follow();
      }
      if (choice.finish_reason === "length") note = box.dataset.cut;
    }
  } catch (error) {
    if (error.name === "AbortError") note = box.dataset.stopped;
    else problem = error instanceof TypeError ? document.documentElement.dataset.offline : error.message;
  }
  running = null;
  item.classList.remove("is-writing");
  busy(false);
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  if (usage) note = [`${usage.completion_tokens} ${box.dataset.tokens}`, `${seconds} s`, note].filter(Boolean).join(" · ");
  item.querySelector("[data-chat-note]").textContent = note;
  for (const tools of log.querySelectorAll(".chat-tools")) tools.querySelector("[data-chat-again]").hidden = true;
  if (answer || !problem) {
    said.push({ role: "assistant", content: answer });
    item.querySelector(".chat-tools").hidden = false;
    item.querySelector("[data-chat-again]").hidden = false;
    item.querySelector("[data-chat-opinion]").hidden = !item.dataset.call;
  } else item.remove();
  if (problem) {
    complain(problem);
    if (!answer) {
      // What was typed is not lost: it stands in the field again, ready to be sent.
      const last = said.pop();
      [...log.querySelectorAll("li.is-mine")].at(-1)?.remove();
      if (!field.value) field.value = last.content;
    }
  }
  part("status").textContent = "";
  announce(problem || answer);
  follow();
  field.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = field.value.trim();
  if (!text || running) return;
  said.push({ role: "user", content: text });
  show("user", text);
  field.value = "";
  follow();
  ask();
});
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") running?.abort(); });
part("stop").addEventListener("click", () => running?.abort());
part("clear").addEventListener("click", () => {
  said.length = 0;
  log.replaceChildren();
  part("empty").hidden = false;
  part("clear").hidden = true;
  field.focus();
});
log.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  const item = event.target.closest(".chat-message");
  if (!button || !item || running) return;
  if (button.matches("[data-chat-copy]")) {
    await navigator.clipboard.writeText(item.querySelector(".chat-text").textContent).catch(() => {});
    announce(document.documentElement.dataset.copied);
  }
  if (button.matches("[data-chat-thumb]")) await opine(item, button.dataset.chatThumb);
  if (button.matches("[data-chat-again]") && said.at(-1)?.role === "assistant") {
    said.pop();
    item.remove();
    ask();
  }
});
log.addEventListener("submit", (event) => {
  event.preventDefault();
  const item = event.target.closest(".chat-message");
  opine(item, item.dataset.thumb);
  field.focus();
});
