// Calls to the REST API of the same origin, with the CSRF header; and what its refusals say.

import { localTime } from "./times.js";

export class Refusal extends Error {
  constructor(message, detail, status) {
    super(message);
    this.detail = detail;
    this.status = status;
  }
}

function csrfToken() {
  const cookie = document.cookie.split("; ").find((entry) => entry.startsWith("csrftoken="));
  if (cookie) return cookie.slice("csrftoken=".length);
  return document.querySelector("input[name=csrfmiddlewaretoken]")?.value ?? "";
}

export function chatUrl(chatId, rest = "") {
  return `/api/experimental/chats/${chatId}${rest}`;
}

/** Call the API; returns the JSON body, or null. Throws a Refusal with a sentence for people. */
export async function call(method, url, body) {
  const headers = { "X-CSRF-TOKEN": csrfToken() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Refusal("The server cannot be reached.", "Check the connection and try again.", 0);
  }
  const text = await response.text();
  const answer = parsed(text);
  if (response.ok) return answer;
  if (response.status === 401) {
    throw new Refusal("You are signed out.", "Reload the page to sign in again; your text is kept.", 401);
  }
  throw new Refusal(
    answer?.message ?? (text && text.length < 300 ? text : `The server answered ${response.status}.`),
    answer?.detail ?? limitDetail(answer),
    response.status,
  );
}

/** What is said to who has used up a limit; nothing about other refusals. */
function limitDetail(answer) {
  if (!answer?.resets_at) return "";
  const [spent, limit] = [answer.spent_micros, answer.limit_micros].map(dollars);
  const anew = localTime(answer.resets_at);
  return `You have spent ${spent}; the limit is ${limit}. You can go on when it starts anew: ${anew}.`;
}

function dollars(micros) {
  const digits = micros < 1e6 ? 6 : 2;
  const money = { style: "currency", currency: "USD", maximumFractionDigits: digits };
  return new Intl.NumberFormat("en", money).format(micros / 1e6);
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

/** Fetch a page or fragment of the site as a document; null when it is gone or out of reach. */
export async function fetchDocument(url) {
  try {
    const response = await fetch(url, { headers: { Accept: "text/html" } });
    if (!response.ok || response.redirected) return null;
    return new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    return null;
  }
}
