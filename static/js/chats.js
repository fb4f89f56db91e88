// The list of chats, kept current by the watch socket. The rows of the server are the truth:
// after every connect the list is fetched anew, because the socket has no replay.

import { fetchDocument } from "./api.js";
import { Composer, forgetDraft } from "./composer.js";
import { LiveSocket } from "./socket.js";
import "./times.js";

const page = document.getElementById("chat-list-page");
const list = document.getElementById("chat-list");
const labels = JSON.parse(page.dataset.statusLabels);
const BUSY = new Set(["pending", "running", "requires_action"]);

const form = document.querySelector("[data-composer]");
if (form) {
  const composer = new Composer(form);
  form.addEventListener("submit", () => {
    forgetDraft(form.dataset.draftKey);
    // Not in the same task: a disabled button is left out of the form.
    setTimeout(() => (composer.isSending = true));
  });
  window.addEventListener("pageshow", () => (composer.isSending = false));
}

function rowOf(chatId) {
  return list.querySelector(`[data-chat-id="${CSS.escape(chatId)}"]`);
}

function newRow(chat) {
  const row = document.getElementById("chat-row").content.firstElementChild.cloneNode(true);
  row.dataset.chatId = chat.id;
  row.querySelector("a").href = `/chats/${encodeURIComponent(chat.id)}#latest`;
  return row;
}

function show(row, chat) {
  row.querySelector(".chat-title").textContent = chat.title;
  const summary = row.querySelector(".chat-summary");
  summary.textContent = chat.last_turn_summary ?? "";
  summary.hidden = !chat.last_turn_summary;
  const badge = row.querySelector(".badge");
  const wasBusy = BUSY.has(badge.dataset.status);
  badge.dataset.status = chat.status;
  badge.textContent = labels[chat.status] ?? chat.status;
  const time = row.querySelector("time");
  time.dateTime = chat.updated_at;
  return wasBusy && !BUSY.has(chat.status);
}

function moveUp(row) {
  if (row.dataset.pinned !== "0") return;
  const firstUnpinned = list.querySelector('[data-pinned="0"]');
  if (firstUnpinned !== row) list.insertBefore(row, firstUnpinned);
}

function onEvent({ kind, chat }) {
  if (chat.parent_chat_id) return;
  let row = rowOf(chat.id);
  if (kind === "deleted" || chat.archived) {
    row?.remove();
  } else {
    row ??= newRow(chat);
    const hasEnded = show(row, chat);
    if (kind === "created" || kind === "status_change") {
      row.querySelector("time").textContent = "just now";
      moveUp(row);
    }
    if (!row.isConnected) list.prepend(row);
    if (hasEnded && chat.status === "waiting") row.querySelector(".unread").hidden = false;
  }
  document.getElementById("no-chats").hidden = list.childElementCount > 0;
}

async function refresh() {
  const fresh = await fetchDocument("/chats");
  const rows = fresh?.getElementById("chat-list");
  if (!rows) return;
  const focused = document.activeElement?.closest?.(".chat-row")?.dataset.chatId;
  list.replaceChildren(...document.adoptNode(rows).children);
  document.getElementById("no-chats").hidden = list.childElementCount > 0;
  if (focused) rowOf(focused)?.querySelector("a").focus();
}

if (page.dataset.live === "yes") {
  new LiveSocket({
    url: () => "/api/experimental/chats/watch",
    onOpen: refresh,
    onFrame: onEvent,
    onOffline: () => {},
    mayRetry: async () => (await fetch("/chats", { redirect: "manual" }).catch(() => null))?.type !== "opaqueredirect",
  });
}
