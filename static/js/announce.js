// What a screen reader hears: whole sentences of the answer, and changes of state. The messages
// themselves are not announced, or every word would be.

const KEPT = 6;
const PAUSE_MS = 700;
const SENTENCE = /[\s\S]*(?:[.!?…:]["'”’)\]]*\s|\n)/;

export class Announcer {
  constructor(element) {
    this.element = element;
    this.heard = "";
    this.waiting = [];
  }

  say(text) {
    const line = text.trim();
    if (!line) return;
    this.waiting.push(line);
    this.timer ??= setTimeout(() => this.flush(), PAUSE_MS);
  }

  /** Take a delta of the answer; whole sentences are said, the rest waits. */
  hear(delta) {
    this.heard += delta;
    const whole = SENTENCE.exec(this.heard)?.[0];
    if (!whole) return;
    this.heard = this.heard.slice(whole.length);
    this.say(plain(whole));
  }

  /** The answer is complete: say what is left of it. */
  finish() {
    this.say(plain(this.heard));
    this.heard = "";
  }

  forget() {
    this.heard = "";
    this.waiting = [];
  }

  flush() {
    this.timer = undefined;
    if (!this.waiting.length) return;
    const line = document.createElement("span");
    line.textContent = `${this.waiting.join(" ")} `;
    this.waiting = [];
    this.element.append(line);
    while (this.element.childElementCount > KEPT) this.element.firstElementChild.remove();
  }
}

function plain(markdown) {
  return markdown.replace(/[*_`#>|]+/g, " ").replace(/\s+/g, " ");
}
