// The page of one chat, live. The server rendered what was stored and streamed so far; the stream
// socket goes on from the newest message shown. Nothing is lost and nothing is doubled: stored
// messages are put in by id, and the step that is being written has one bubble of its own.

import { Announcer } from "./announce.js";
import { call, chatUrl, fetchDocument } from "./api.js";
import { Composer } from "./composer.js";
import { LiveBubble } from "./live.js";
import { MessageList } from "./messages.js";
import { LiveSocket } from "./socket.js";
import { watchTitleForm } from "./title.js";

const BUSY = new Set(["pending", "running", "requires_action"]);
const LEFTOVER_MS = 3000;
const MANY_MESSAGES = 5;

const page = document.getElementById("chat");
const chatId = page.dataset.chatId;
const byId = (id) => document.getElementById(id);
const announcer = new Announcer(byId("announcer"));
const labels = JSON.parse(page.dataset.statusLabels);
const bubble = new LiveBubble(byId("live"));
const messages = new MessageList(byId("messages"), {
  chatId,
  bubble,
  newestId: Number(page.dataset.newestId),
  resync,
});
let status = page.dataset.status;
let isFirstFrame = true;
let snapshotRank = 0;
let hasConnected = false;
let leftoverTimer;
let socket;

// events of the stream

function onFrame(events) {
  const followed = isAtBottom();
  if (isFirstFrame) {
    // The snapshot has all parts of the running step, so what was shown of it goes.
    bubble.reset();
    announcer.forget();
  }
  const unseen = events.filter((event) => event.type === "message").length;
  if (unseen > MANY_MESSAGES) resync();
  for (const event of events) onEvent(event, unseen > MANY_MESSAGES);
  isFirstFrame = false;
  if (followed) toBottom();
}

// The kinds of a snapshot in their order. It has no end mark, but live events soon break the order.
const SNAPSHOT_ORDER = ["status", "retry", "message_part", "message", "queue_update"];

function onEvent(event, isResyncing) {
  const rank = SNAPSHOT_ORDER.indexOf(event.type);
  snapshotRank = rank >= snapshotRank ? rank : Infinity;
  switch (event.type) {
    case "status":
      setStatus(event.status.status);
      break;
    case "message_part":
      onPart(event.message_part);
      break;
    case "message":
      if (!isResyncing) onMessage(event.message);
      break;
    case "queue_update":
      showQueue(event.queued_messages ?? []);
      break;
    case "retry":
      onRetry(event.retry);
      break;
    case "error":
      showError(event.error);
      break;
    case "action_required":
      byId("action-notice").hidden = false;
      break;
  }
}

function onPart({ part }) {
  byId("retry-notice").hidden = true;
  bubble.add(part);
  if (part.type === "text" && !isFirstFrame) announcer.hear(part.text ?? "");
}

function onMessage(message) {
  const isAnswer = message.role === "assistant";
  if (isAnswer) announcer.finish();
  // In a snapshot the parts come first, and belong to the step after its messages.
  const isLive = snapshotRank === Infinity || bubble.isCoveredBy(message);
  const hasStreamed = isAnswer && !bubble.isEmpty && isLive;
  const before = messages.newestId;
  messages.put(message, hasStreamed ? bubble.seal() : null);
  if (message.role === "user" && message.id > before) checkFollows(message.id, before);
}

// A message may stand in for all that was cut from it on. The stream does not say what was cut,
// so the server is asked which message is now before this one.
async function checkFollows(id, before) {
  try {
    const answer = await call("GET", chatUrl(chatId, `/messages?limit=1&before_id=${id}`));
    if ((answer.messages[0]?.id ?? 0) !== before) resync();
  } catch {
    resync();
  }
}

function onRetry(retry) {
  bubble.reset();
  announcer.forget();
  const seconds = Math.ceil((retry.delay_ms ?? 0) / 1000);
  const when = seconds > 0 ? `Retrying in ${seconds} s` : "Retrying now";
  byId("retry-notice").textContent = `${when}: ${retry.error}`;
  byId("retry-notice").hidden = false;
}

function showError(error) {
  const notice = byId("error-notice");
  notice.querySelector("[data-error-message]").textContent = error.message;
  const detail = notice.querySelector("[data-error-detail]");
  detail.textContent = error.detail ?? "";
  detail.hidden = !error.detail;
  notice.querySelector("[data-error-kind]").textContent = error.kind ?? "generic";
  notice.querySelector("[data-error-retryable]").hidden = !error.retryable;
  notice.hidden = false;
}

// state

function setStatus(next) {
  const was = status;
  status = next;
  const badge = byId("status-badge");
  badge.dataset.status = next;
  badge.textContent = labels[next] ?? next;
  const isBusy = BUSY.has(next);
  const stop = byId("stop-form");
  if (stop) {
    stop.hidden = !isBusy;
    if (!isBusy || was === "waiting") resetStop(stop);
  }
  for (const button of document.querySelectorAll("[data-when-busy]")) button.hidden = !isBusy;
  for (const button of document.querySelectorAll("[data-when-idle]")) button.hidden = isBusy;
  byId("action-notice").hidden = next !== "requires_action";
  const doubts = document.getElementById("doubts");
  if (doubts && next !== "error") doubts.hidden = true;
  if (next !== "error") byId("error-notice").hidden = true;
  else if (was !== next && was) resync(); // the server knows whether a tool call is in doubt
  else if (byId("error-notice").hidden) leftover();
  if (next !== "running") byId("retry-notice").hidden = true;
  if (was !== next) announcer.say(labels[next] ?? next);
  // Messages come before the status that follows from them, so these parts will never be stored.
  if (next === "pending" || next === "error") bubble.reset();
  if (!isBusy && !bubble.isEmpty) leftover();
}

// A status may overtake the message or the error it belongs to. When it stays alone, the page
// takes the server's word for how things stand.
function leftover() {
  clearTimeout(leftoverTimer);
  leftoverTimer = setTimeout(() => {
    const lacksError = status === "error" && byId("error-notice").hidden;
    const hasRest = !BUSY.has(status) && !bubble.isEmpty;
    if (lacksError || hasRest) resync();
  }, LEFTOVER_MS);
}

let resyncing;
let isOutdated = false;

/** Replace messages, notices and queue by the server's; for edits, gaps and lost events. */
function resync() {
  // A page that is on its way may have been made before what this call is about.
  isOutdated = Boolean(resyncing);
  resyncing ??= takePage();
  return resyncing;
}

async function takePage() {
  let fresh;
  do {
    isOutdated = false;
    fresh = await fetchDocument(location.pathname);
  } while (isOutdated);
  resyncing = undefined;
  const root = fresh?.getElementById("chat");
  if (!root) return;
  const followed = isAtBottom();
  messages.replace(root);
  if (!BUSY.has(root.dataset.status) && !BUSY.has(status)) bubble.reset();
  showTitle(fresh);
  for (const id of ["notices", "queue"]) byId(id).replaceWith(root.querySelector(`#${id}`));
  byId("queue-section").hidden = byId("queue").childElementCount === 0;
  if (followed) toBottom();
}

function showTitle(fresh) {
  document.title = fresh.title;
  page.querySelector("h1").textContent = fresh.querySelector("#chat h1").textContent;
}

watchTitleForm({ onRenamed: showTitle });

// A title that came by itself, or from elsewhere; only the watch socket tells of it. It has no
// replay, so the server is asked on every connect.
function onWatched({ kind, chat }) {
  if (kind === "title_change" && chat.id === chatId) showNamed(chat);
}

function showNamed({ title }) {
  document.title = `${title} · chatd`;
  page.querySelector("h1").textContent = title;
  const box = byId("title");
  if (box && !byId("title-edit").open) box.value = box.defaultValue = title;
}

function showQueue(queued) {
  const template = byId("queued-row").content.firstElementChild;
  const rows = queued.map((entry) => {
    const row = template.cloneNode(true);
    row.dataset.queuedId = entry.id;
    row.querySelector(".queued-text").textContent = textOf(entry.content);
    for (const form of row.querySelectorAll("form")) {
      form.action = `/chats/${chatId}/queue/${entry.id}/${form.dataset.command}`;
    }
    return row;
  });
  byId("queue").replaceChildren(...rows);
  byId("queue-section").hidden = rows.length === 0;
}

function textOf(content) {
  return (content ?? []).map((part) => part.text ?? part.file_name ?? part.name ?? "").join("\n");
}

// commands

const commands = {
  stop: () => call("POST", chatUrl(chatId, "/interrupt")),
  remove: (id) => call("DELETE", chatUrl(chatId, `/queue/${id}`)),
  promote: (id) => call("POST", chatUrl(chatId, `/queue/${id}/promote`)),
};

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const command = form.dataset.command;
  if (!command) return;
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  if (command === "stop") {
    button.textContent = "Stopping…";
    announcer.say("Stopping");
  }
  try {
    await commands[command](form.closest("[data-queued-id]")?.dataset.queuedId);
    socket?.expectFrame();
  } catch (refusal) {
    showRefusal(refusal);
    if (command === "stop") resetStop(form);
  }
  if (command !== "stop") button.disabled = false;
});

function resetStop(form) {
  const button = form.querySelector("button");
  button.disabled = false;
  button.textContent = "Stop";
}

function showRefusal(refusal) {
  const box = byId("send-error");
  const title = document.createElement("strong");
  title.textContent = refusal.message;
  box.replaceChildren(title, refusal.detail ? ` ${refusal.detail}` : "");
  box.hidden = false;
}

const composerForm = document.querySelector("form[data-composer]");
if (composerForm) {
  const composer = new Composer(composerForm);
  composerForm.addEventListener("submit", (event) => {
    event.preventDefault();
    send(composer, event.submitter?.value || "queue");
  });
}

async function send(composer, behavior) {
  const text = composer.text;
  const model = composer.form.elements.model?.value;
  const body = { content: [{ type: "text", text }], busy_behavior: behavior };
  if (model) body.model_config_id = model;
  composer.isSending = true;
  try {
    await call("POST", chatUrl(chatId, "/messages"), body);
    composer.clear(text);
    byId("send-error").hidden = true;
    composerForm.querySelector(".notice-error")?.remove();
    socket?.expectFrame();
    toBottom();
  } catch (refusal) {
    showRefusal(refusal);
  } finally {
    composer.isSending = false;
    composer.box.focus();
  }
}

// scrolling

const NEAR_PIXELS = 80;

function isAtBottom() {
  const root = document.documentElement;
  return root.scrollHeight - root.clientHeight - window.scrollY < NEAR_PIXELS;
}

function toBottom() {
  window.scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
}

let isFollowing = true;
bubble.onFlush = () => {
  if (isFollowing) toBottom();
};
messages.onChange = () => {
  if (isFollowing) toBottom();
};
window.addEventListener(
  "scroll",
  () => {
    isFollowing = isAtBottom();
    byId("jump").hidden = isFollowing;
  },
  { passive: true },
);
byId("jump").addEventListener("click", toBottom);

// start

async function mayRetry() {
  try {
    await call("GET", chatUrl(chatId));
    return true;
  } catch (refusal) {
    if (refusal.status !== 401 && refusal.status !== 404) return true;
    showRefusal(refusal);
    return false;
  }
}

if (page.dataset.live === "yes") {
  toBottom();
  socket = new LiveSocket({
    url: () => chatUrl(chatId, `/stream?after_id=${messages.newestId}`),
    onOpen: () => {
      isFirstFrame = true;
      snapshotRank = 0;
      // The snapshot has what is new. What was cut from the history meanwhile, only the page knows.
      if (hasConnected) resync();
      hasConnected = true;
    },
    onFrame,
    onOffline: (isOffline) => {
      byId("connection-hint").hidden = !isOffline;
    },
    mayRetry,
  });
  if (page.dataset.own === "yes") {
    new LiveSocket({
      url: () => "/api/experimental/chats/watch",
      onOpen: () => call("GET", chatUrl(chatId)).then(showNamed, () => {}),
      onFrame: onWatched,
      onOffline: () => {},
      mayRetry,
    });
  }
}
