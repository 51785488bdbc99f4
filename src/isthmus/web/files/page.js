"use strict";
// Follows the project's events and draws them. All text from the API is set as text, never as HTML.

const known = { waves: new Map(), executions: new Map(), tasks: new Map(), progress: new Map(), said: new Map() };
const element = (id) => document.getElementById(id);
let lastId = "";

element("login").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const token = element("token").value;
  element("token").value = "";
  element("login").hidden = true;
  follow(element("project").value.trim(), token);
});

async function follow(project, token) {
  const headers = token ? { "X-Auth-Token": token } : {};
  for (;;) {
    try {
      const resume = lastId ? { ...headers, "Last-Event-ID": lastId } : headers;
      const answer = await fetch(`/v1/${encodeURIComponent(project)}/events`, { headers: resume, cache: "no-store" });
      if (answer.status >= 400 && answer.status < 500) {
        refuse(await reasonOf(answer));
        return;
      }
      if (answer.ok) {
        element("work").hidden = false;
        say("connected");
        await read(answer.body.getReader());
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // what fetch and a broken stream raise
    }
    say("connecting again");
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

async function reasonOf(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `the API answered ${answer.status}`;
  }
}

function refuse(reason) {
  say(`not connected: ${reason}`);
  element("login").hidden = false;
}

async function read(reader) {
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) take(block);
    draw();
  }
}

function take(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
  }
  if (!fields.data) return;
  lastId = fields.id;
  const data = JSON.parse(fields.data);
  if (fields.event === "wave") known.waves.set(data.id, data);
  if (fields.event === "execution") known.executions.set(data.id, data);
  if (fields.event === "task") known.tasks.set(data.id, data);
  if (fields.event === "progress") known.progress.set(data.id, data);
  if (fields.event === "message") known.said.set(data.task_id, data);
}

function say(text) {
  element("state").textContent = text;
}

function made(name, text, className) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function draw() {
  const shown = [...known.executions.values()].sort((a, b) => b.created_at.localeCompare(a.created_at)).slice(0, 50);
  const waves = [...known.waves.values()].sort((a, b) => b.created_at.localeCompare(a.created_at)).slice(0, 20);
  element("nothing").hidden = shown.length + waves.length > 0;
  element("waves").replaceChildren(...waves.map(wave));
  element("executions").replaceChildren(...shown.map(article));
}

function wave(each) {
  const node = made("article");
  node.dataset.wave = each.id;
  node.append(made("h3", `wave ${each.name}: `));
  node.firstChild.append(made("span", each.status, each.status));
  if (each.message) node.append(made("p", each.message));
  const counts = Object.entries(each.members).sort();
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  node.append(bar({
    message: counts.map(([status, count]) => `${count} ${status}`).join(", "),
    current_step: each.members.COMPLETED ?? 0,
    total_steps: total,
  }));
  return node;
}

function article(execution) {
  const node = made("article");
  node.dataset.execution = execution.id;
  const what = execution.type.replaceAll("_", " ");
  node.append(made("h3", `${what} ${execution.number} of ${execution.action_id}: `));
  node.firstChild.append(made("span", execution.status, execution.status));
  const steps = made("ol");
  const mine = [...known.tasks.values()].filter((task) => task.execution_id === execution.id);
  const begun = mine.filter((task) => !["SCHEDULED", "UNSCHEDULED"].includes(task.status));
  steps.append(...begun.sort((a, b) => a.index - b.index).map(step));
  node.append(steps);
  return node;
}

function step(task) {
  const node = made("li");
  node.append(made("span", task.status, task.status));
  node.append(made("span", `${task.task_type.toLowerCase().replaceAll("_", " ")} (${task.instance})`));
  const said = known.said.get(task.id);
  if (said && task.status !== "COMPLETED") node.append(made("span", said.message, "said"));
  if (task.status === "RUNNING") {
    for (const each of known.progress.values()) if (each.task_id === task.id) node.append(bar(each));
  }
  return node;
}

function bar(progress) {
  const node = made("span", undefined, "detail");
  node.append(made("span", progress.message));
  const meter = made("progress");
  if (progress.total_steps) {
    meter.max = progress.total_steps;
    meter.value = progress.current_step;
  }
  node.append(meter);
  return node;
}
