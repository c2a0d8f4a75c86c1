"use strict";
// The chat page. Nothing is fetched from elsewhere, and a model's words are only ever set as text.
const at = (id) => document.getElementById(id);
const talk = at("talk");
let turns = []; // {user, sources: [passage], answers: [{model, text, tokens, seconds, first_s, joules}]}
let running = null; // AbortController of the answers under way

function headers() {
  const key = at("key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function models() {
  const answer = await fetch("/v1/models", { headers: headers() });
  const told = await answer.json();
  if (!answer.ok) {
    say(`${told.error.message}. Enter it under Settings.`, true);
    document.querySelector("details").open = true;
    return;
  }
  for (const [id, empty] of [["first", false], ["second", true]]) {
    const list = at(id), before = list.value;
    const able = told.data.filter((one) => !one.embeds);
    list.replaceChildren(...(empty ? [new Option("none", "")] : []), ...able.map((one) => new Option(one.id, one.id)));
    if (able.some((one) => one.id === before)) list.value = before;
  }
  say("");
  at("papers").hidden = !told.data.some((one) => one.embeds);
  if (!at("papers").hidden) await papers();
  const ready = await fetch("/ready", { headers: headers() });
  if (ready.ok) at("energy").textContent = `Energy of answers: ${(await ready.json()).energy}.`;
}

// What an address of the server tells, as JSON.
async function fetched(path, options = {}) {
  const answer = await fetch(path, { headers: headers(), ...options });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error.message);
  return value;
}

// Documents: brought by drop or choice, ticked to be asked about.
async function papers(ticked = chosenPapers()) {
  const kept = await fetched("/v1/documents");
  at("documents").replaceChildren(...kept.data.map((one) => {
    const row = document.createElement("li"), label = document.createElement("label"), tick = document.createElement("input"), gone = document.createElement("button");
    tick.type = "checkbox";
    tick.value = one.id;
    tick.checked = ticked.includes(one.id);
    label.append(tick, ` ${one.name} (${counted(one)})`);
    gone.type = "button";
    gone.textContent = "Remove";
    gone.setAttribute("aria-label", `Remove ${one.name}`);
    gone.addEventListener("click", async () => {
      try {
        await fetched(`/v1/documents/${one.id}`, { method: "DELETE" });
      } catch (error) {
        note(error.message, true);
      }
      await papers();
    });
    row.append(label, gone);
    return row;
  }));
}

function counted(paper) {
  return `${paper.passages} passage${paper.passages === 1 ? "" : "s"}`;
}

function chosenPapers() {
  return [...at("documents").querySelectorAll("input:checked")].map((tick) => tick.value);
}

async function bring(files) {
  at("papers").open = true;
  let ticked = chosenPapers();
  for (const file of files) {
    note(`Reading ${file.name} …`);
    try {
      const kept = await fetched(`/v1/documents?name=${encodeURIComponent(file.name)}`, {
        method: "POST", headers: { ...headers(), "Content-Type": "application/octet-stream" }, body: file,
      });
      ticked = [...ticked, kept.id];
      await papers(ticked);
      note(`Added ${file.name}: ${counted(kept)}`);
    } catch (error) {
      note(error.message, true);
      return;
    }
  }
}

function note(text, bad = false) {
  at("reading").textContent = text;
  at("reading").classList.toggle("bad", bad);
}

function place(source) {
  return source.page ? `${source.name}, page ${source.page}` : `${source.name}, lines ${source.first_line} to ${source.last_line}`;
}

async function sourcesOf(question) {
  const documents = chosenPapers();
  if (!documents.length) return [];
  const found = await fetched("/v1/documents/search", { method: "POST", body: JSON.stringify({ query: question, documents, limit: 3 }) });
  // what is far from the nearest one is hardly about the question
  return found.data.filter((one) => one.similarity >= found.data[0].similarity / 2);
}

// What the model is asked: the passages first, so that it can answer from them.
function asked(turn) {
  if (!turn.sources.length) return turn.user;
  const quoted = turn.sources.map((source, number) => `[${number + 1}] ${place(source)}:\n${source.text}`);
  return `Passages from documents:\n\n${quoted.join("\n\n")}\n\nAnswer from these passages only; if they do not hold the answer, say so.\n\nQuestion: ${turn.user}`;
}

function showSources(turn) {
  turn.shelf?.remove();
  turn.shelf = null;
  if (!turn.sources.length) return;
  const shelf = document.createElement("section");
  shelf.className = "sources";
  shelf.setAttribute("aria-label", "Sources");
  for (const source of turn.sources) {
    const quote = document.createElement("blockquote"), from = document.createElement("cite");
    quote.textContent = source.text;
    from.textContent = `${place(source)} · similarity ${source.similarity.toFixed(2)}`;
    quote.append(from);
    shelf.append(quote);
  }
  turn.shelf = shelf;
  turn.row.after(shelf);
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
    found.push({ role: "user", content: asked(turn) });
    if (own?.text) found.push({ role: "assistant", content: own.text });
  }
  return found;
}

async function answer(model, asked, box) {
  const started = performance.now(), found = { model, text: "", tokens: 0, seconds: 0, first_s: 0, joules: null };
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
        if (told.usage) {
          found.tokens = told.usage.completion_tokens;
          found.joules = told.usage.energy_joules ?? null;
        }
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
  const energy = found.joules === null ? "" : ` · ${found.joules.toPrecision(2)} J`;
  figures.textContent = found.tokens ? `${found.tokens} tokens${speed} · first token after ${(found.first_s * 1000).toFixed(0)} ms${energy}` : "stopped";
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
  say("Answering …");
  try {
    turn.sources = await sourcesOf(turn.user);
  } catch (error) {
    running = null;
    buttons();
    say(error.message, true);
    return;
  }
  showSources(turn);
  const before = turns.indexOf(turn);
  turn.answers = await Promise.all(chosen.map((model) => {
    const box = document.createElement("section");
    box.className = "answer";
    box.setAttribute("aria-label", `Answer by ${model}`);
    row.append(box);
    return answer(model, [...messages(before, model), { role: "user", content: asked(turn) }], box);
  }));
  running = null;
  buttons();
  say("Done");
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
    say("No model is available", true);
    return;
  }
  at("prompt").value = "";
  const mine = document.createElement("div");
  mine.className = "mine";
  mine.textContent = text;
  talk.append(mine);
  const turn = { user: text, sources: [], answers: [], mine };
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
  const told = { system: at("system").value, temperature: Number(at("temperature").value), turns: turns.map(({ user, sources, answers }) => ({ user, sources, answers })) };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(told, null, 2)], { type: "application/json" }));
  link.download = "conversation.json";
  link.click();
  URL.revokeObjectURL(link.href);
});
at("key").addEventListener("change", models);
at("files").addEventListener("change", async () => {
  await bring([...at("files").files]);
  at("files").value = "";
});
document.addEventListener("dragover", (event) => {
  if (at("papers").hidden) return;
  event.preventDefault();
  at("papers").open = true;
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  if (at("papers").hidden) return;
  event.preventDefault();
  document.body.classList.remove("dropping");
  bring([...event.dataTransfer.files]);
});
models().catch(() => say("The server does not respond", true));
