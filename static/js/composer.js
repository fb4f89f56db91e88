// The text box: Enter sends, the box grows with the text, and a draft survives a reload.

const DRAFT_PREFIX = "chatd.draft.";

export class Composer {
  constructor(form) {
    this.form = form;
    this.box = form.querySelector("textarea");
    this.key = DRAFT_PREFIX + form.dataset.draftKey;
    this.restore();
    for (const hint of form.querySelectorAll("[data-keys-hint]")) hint.hidden = false;
    this.box.addEventListener("input", () => this.changed());
    this.box.addEventListener("keydown", (event) => this.key_(event));
    this.grow();
  }

  get text() {
    return this.box.value;
  }

  key_(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.altKey) return;
    event.preventDefault();
    if (!this.text.trim()) return;
    const button = this.form.querySelector("button[type=submit]:not([hidden]):not([disabled])");
    if (button) this.form.requestSubmit(button);
  }

  changed() {
    store(this.key, this.text);
    this.grow();
  }

  restore() {
    if (!this.text) this.box.value = stored(this.key);
  }

  grow() {
    this.box.style.height = "auto";
    const border = this.box.offsetHeight - this.box.clientHeight;
    this.box.style.height = `${this.box.scrollHeight + border}px`;
  }

  /** Empty the box, unless other text has been typed meanwhile. */
  clear(sent) {
    if (this.text !== sent) return;
    this.box.value = "";
    this.changed();
  }

  set isSending(value) {
    this.form.setAttribute("aria-busy", String(value));
    this.box.readOnly = value;
    for (const button of this.form.querySelectorAll("button[type=submit]")) button.disabled = value;
  }
}

// Storage may be switched off; drafts are a comfort and nothing depends on them.
function store(key, text) {
  try {
    if (text) sessionStorage.setItem(key, text);
    else sessionStorage.removeItem(key);
  } catch {
    return;
  }
}

function stored(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

/** Forget the draft of a form that the browser itself sends away. */
export function forgetDraft(key) {
  store(DRAFT_PREFIX + key, "");
}
