// The stored messages on the page, in id order. Each is fetched as the server renders it; until it
// has arrived, the streamed bubble or the plain text stands in its place.

import { fetchDocument } from "./api.js";

const TRIES = 4;
const FIRST_PAUSE_MS = 500;
const REFRESH_MS = 150;

export class MessageList {
  constructor(element, { chatId, bubble, newestId, resync }) {
    this.element = element;
    this.chatId = chatId;
    this.bubble = bubble;
    this.newestId = newestId;
    this.resync = resync;
  }

  /** Show a stored message; `standIn` is the bubble in which it was streamed. */
  put(message, standIn) {
    if (message.id <= this.newestId) {
      // Messages come once each, except when history was cut: then all come again.
      standIn?.remove();
      clearTimeout(this.refreshTimer);
      this.refreshTimer = setTimeout(this.resync, REFRESH_MS);
      return;
    }
    this.newestId = message.id;
    const place = standIn ?? plainMessage(message);
    place.dataset.messageId = message.id;
    // The bubble stays last: what it shows belongs after all that is stored.
    this.element.insertBefore(place, this.bubble.element);
    this.render(message.id, place);
  }

  async render(id, place) {
    for (let attempt = 0; attempt < TRIES; attempt += 1) {
      const fragment = await fetchDocument(`/chats/${this.chatId}/messages/${id}`);
      const rendered = fragment?.querySelector("[data-message-id]");
      if (!place.isConnected) return;
      if (rendered) {
        keepOpen(place, rendered);
        place.replaceWith(document.adoptNode(rendered));
        this.onChange?.();
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * 2 ** attempt));
    }
  }

  /** Take over the messages of a freshly fetched page; what the reader opened stays open. */
  replace(root) {
    const fresh = [...root.querySelectorAll("#messages > [data-message-id]")];
    const newestOfPage = Number(root.dataset.newestId);
    for (const old of this.element.querySelectorAll(":scope > [data-message-id]")) {
      // What came in while the page was on its way is newer than the page.
      if (Number(old.dataset.messageId) > newestOfPage) continue;
      const same = fresh.find((message) => message.id && message.id === old.id);
      if (same) keepOpen(old, same);
      old.remove();
    }
    this.element.prepend(...fresh.map((message) => document.adoptNode(message)));
    this.newestId = Math.max(this.newestId, newestOfPage);
  }
}

function keepOpen(from, to) {
  const before = [...from.querySelectorAll("details")];
  const after = [...to.querySelectorAll("details")];
  after.forEach((details, index) => {
    details.open = before[index]?.open ?? false;
  });
}

function plainMessage(message) {
  const article = document.createElement("article");
  article.className = `message message-${message.role}`;
  const head = document.createElement("h2");
  head.className = "message-head";
  head.textContent = { user: "You", assistant: "Assistant" }[message.role] ?? "Tool";
  const body = document.createElement("div");
  body.className = "message-body plain";
  body.textContent = (message.content ?? [])
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("");
  article.append(head, body);
  return article;
}
