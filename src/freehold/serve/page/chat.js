"use strict";
// The chat page. Nothing is fetched from elsewhere, and a model's words are only ever set as text.
const at = (id) => document.getElementById(id);
const talk = at("talk");
let turns = []; // {user, answers: [{model, text, tokens, seconds, first_s}]}
let running = null; // AbortController of the answers under way

function headers() {
  const key = at("key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function models() {
  const answer = await fetch("/v1/models", { headers: headers() });
  const told = await answer.json();
  if (!answer.ok) {
    say(`${told.error.message}: give it under Settings`, true);
    document.querySelector("details").open = true;
    return;
  }
  for (const [id, empty] of [["first", false], ["second", true]]) {
    const list = at(id), before = list.value;
    list.replaceChildren(...(empty ? [new Option("none", "")] : []), ...told.data.map((one) => new Option(one.id, one.id)));
    if (told.data.some((one) => one.id === before)) list.value = before;
  }
  say("");
}

function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}

// Text between ``` becomes a block of its own; everything is set as text.
function show(place, text) {
  place.replaceChildren();
  text.split(/^```.*$/m).forEach((part, number) => {
    if (!part.trim()) return;
    const block = document.createElement(number % 2 ? "pre" : "p");
    if (number % 2) block.tabIndex = 0;
    block.textContent = number % 2 ? part.replace(/^\n/, "") : part.trim();
    place.append(block);
  });
}

function messages(upTo, model) {
  const found = at("system").value.trim() ? [{ role: "system", content: at("system").value.trim() }] : [];
  for (const turn of turns.slice(0, upTo)) {
    const own = turn.answers.find((one) => one.model === model) ?? turn.answers[0];
    found.push({ role: "user", content: turn.user });
    if (own?.text) found.push({ role: "assistant", content: own.text });
  }
  return found;
}

async function answer(model, asked, box) {
  const started = performance.now(), found = { model, text: "", tokens: 0, seconds: 0, first_s: 0 };
  const title = document.createElement("h2"), body = document.createElement("div"), figures = document.createElement("p");
  title.textContent = model;
  figures.className = "figures";
  box.append(title, body, figures);
  const seed = at("seed").value === "" ? {} : { seed: Number(at("seed").value) };
  try {
    const response = await fetch("/v1/chat/completions", {
      method: "POST", headers: headers(), signal: running.signal,
      body: JSON.stringify({ model, messages: asked, stream: true, stream_options: { include_usage: true }, temperature: Number(at("temperature").value),
        max_tokens: Number(at("most").value), ...seed }),
    });
    if (!response.ok) throw new Error((await response.json()).error.message);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      held += value;
      const events = held.split("\n\n");
      held = events.pop();
      for (const event of events) {
        if (!event.startsWith("data: ") || event === "data: [DONE]") continue;
        const told = JSON.parse(event.slice(6));
        if (told.error) throw new Error(told.error.message);
        if (told.usage) found.tokens = told.usage.completion_tokens;
        const piece = told.choices?.[0]?.delta?.content;
        if (piece) {
          found.first_s ||= (performance.now() - started) / 1000;
          found.text += piece;
          show(body, found.text);
        }
      }
    }
  } catch (error) {
    if (error.name !== "AbortError") {
      figures.classList.add("bad");
      figures.textContent = error.message;
      return found;
    }
  }
  found.seconds = (performance.now() - started) / 1000;
  const speed = found.tokens > 1 ? ` · ${((found.tokens - 1) / Math.max(found.seconds - found.first_s, 0.001)).toFixed(1)} tokens/s` : "";
  figures.textContent = found.tokens ? `${found.tokens} tokens${speed} · first after ${(found.first_s * 1000).toFixed(0)} ms` : "stopped";
  return found;
}

async function ask(turn) {
  const chosen = [at("first").value, at("second").value].filter((name, number) => name && (number === 0 || name !== at("first").value));
  const row = document.createElement("div");
  row.className = "answers";
  turn.row?.remove();
  turn.row = row;
  turn.mine.after(row);
  running = new AbortController();
  buttons();
  say("Answering");
  const before = turns.indexOf(turn);
  turn.answers = await Promise.all(chosen.map((model) => {
    const box = document.createElement("section");
    box.className = "answer";
    box.setAttribute("aria-label", `Answer of ${model}`);
    row.append(box);
    return answer(model, [...messages(before, model), { role: "user", content: turn.user }], box);
  }));
  running = null;
  buttons();
  say("Answered");
}

function buttons() {
  at("send").disabled = at("again").disabled = running !== null;
  at("stop").disabled = running === null;
  at("again").disabled ||= !turns.length;
  at("export").disabled = at("clear").disabled = !turns.length || running !== null;
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("prompt").value.trim();
  if (!text || running) return;
  if (!at("first").value) {
    say("There is no model to ask", true);
    return;
  }
  at("prompt").value = "";
  const mine = document.createElement("div");
  mine.className = "mine";
  mine.textContent = text;
  talk.append(mine);
  const turn = { user: text, answers: [], mine };
  turns.push(turn);
  ask(turn).then(() => talk.lastElementChild?.scrollIntoView({ block: "end" }));
});
at("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("ask").requestSubmit();
  }
});
at("stop").addEventListener("click", () => running?.abort());
at("again").addEventListener("click", () => turns.length && !running && ask(turns[turns.length - 1]));
at("clear").addEventListener("click", () => {
  turns = [];
  talk.replaceChildren();
  say("");
  buttons();
  at("prompt").focus();
});
at("export").addEventListener("click", () => {
  const told = { system: at("system").value, temperature: Number(at("temperature").value), turns: turns.map(({ user, answers }) => ({ user, answers })) };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(told, null, 2)], { type: "application/json" }));
  link.download = "conversation.json";
  link.click();
  URL.revokeObjectURL(link.href);
});
at("key").addEventListener("change", models);
models().catch(() => say("The server does not answer", true));
