// The form that names the chat, without a reload: it is sent as it is, and what the server answers
// with takes its place. A suggestion takes seconds; the page stays usable meanwhile.

import { showLocalTimes } from "./times.js";

const byId = (id) => document.getElementById(id);

/** Watch the form. `onRenamed(page)` gets the page of the chat under its new title. */
export function watchTitleForm({ onRenamed }) {
  // The details are replaced now and then, so the listeners are on the document.
  document.addEventListener("toggle", (event) => onToggle(event.target), true);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !event.target.closest?.("#title-edit[open]")) return;
    byId("title-edit").open = false;
    byId("title-edit").querySelector("summary").focus();
  });
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "title-form") return;
    event.preventDefault();
    send(event.target, event.submitter, onRenamed);
  });
}

function onToggle(details) {
  if (details.id !== "title-edit" || !details.open) return;
  const box = byId("title");
  box.focus();
  box.select();
}

async function send(form, button, onRenamed) {
  const url = button?.getAttribute("formaction") ?? form.action;
  const fields = new FormData(form);
  setBusy(form, button);
  let answer;
  try {
    answer = await fetch(url, { method: "POST", body: fields, headers: { Accept: "text/html" } });
  } catch {
    answer = null;
  }
  const fresh = answer && new DOMParser().parseFromString(await answer.text(), "text/html");
  const details = fresh?.getElementById("title-edit");
  if (!details) {
    fail(form, button, answer ? "Reload the page and try again." : "The server cannot be reached.");
    return;
  }
  const isRenamed = answer.redirected;
  const wasOpen = byId("title-edit").open;
  details.open = wasOpen && !isRenamed;
  showLocalTimes(details);
  byId("title-edit").replaceWith(document.adoptNode(details));
  if (isRenamed) onRenamed(fresh);
  if (wasOpen) (isRenamed ? details.querySelector("summary") : byId("title")).focus();
}

function setBusy(form, button) {
  form.setAttribute("aria-busy", "true");
  form.querySelector("#title").readOnly = true;
  for (const each of form.querySelectorAll("button")) each.disabled = true;
  if (button?.dataset.busyLabel) {
    button.dataset.label = button.textContent;
    button.textContent = button.dataset.busyLabel;
  }
}

function fail(form, button, reason) {
  form.removeAttribute("aria-busy");
  form.querySelector("#title").readOnly = false;
  for (const each of form.querySelectorAll("button")) each.disabled = false;
  if (button?.dataset.label) button.textContent = button.dataset.label;
  byId("title-hint").textContent = reason;
}
