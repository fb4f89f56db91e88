// The bubble of the step that is being written. Deltas are collected and go into text nodes once
// per animation frame; the stored message, rendered by the server, takes the bubble's place.

const CHUNK_CHARACTERS = 2000;
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);

export class LiveBubble {
  constructor(element) {
    this.template = element.cloneNode(true);
    this.template.querySelector(".message-body").replaceChildren();
    this.element = element;
    this.reset();
  }

  /** Forget all parts and empty the bubble. */
  reset() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.blocks = [];
    this.calls = new Map();
    this.element.querySelector(".message-body").replaceChildren();
    this.element.hidden = true;
  }

  get isEmpty() {
    return this.blocks.length === 0;
  }

  add(part) {
    switch (part.type) {
      case "text":
      case "reasoning":
        this.addText(part.type, part.text ?? "");
        break;
      case "tool-call":
        this.addCall(part);
        break;
      case "tool-result":
        if (isCompaction(part) && !part.is_error) return; // its message stands above already
        this.addResult(part);
        break;
      case "file":
        if (!this.addPicture(part)) return;
        break;
      default:
        return;
    }
    this.element.hidden = false;
    this.frame ||= requestAnimationFrame(() => this.flush());
  }

  addText(kind, text) {
    if (!text) return;
    let block = this.blocks.at(-1);
    if (block?.kind !== kind) {
      if (kind === "text" && !text.trim()) return;
      block = this.newBlock(kind);
    }
    block.text += text;
    block.waiting += text;
  }

  addCall(part) {
    let block = this.calls.get(part.tool_call_id);
    if (!block) {
      block = this.newBlock("call");
      this.calls.set(part.tool_call_id, block);
    }
    if (isCompaction(part)) block.summary.textContent = "Summarising earlier messages";
    else if (part.tool_name) block.summary.textContent = `Calls ${part.tool_name}`;
    if ("args" in part) {
      this.replaceText(block, pretty(part.args));
    } else if (part.args_delta) {
      block.text += part.args_delta;
      block.waiting += part.args_delta;
    }
  }

  addResult(part) {
    const key = `result ${part.tool_call_id}`;
    const block = this.calls.get(key) ?? this.newBlock("result");
    this.calls.set(key, block);
    const name = part.tool_name || "the tool";
    block.summary.textContent = part.is_error ? `${name} failed` : `Result of ${name}`;
    if (isCompaction(part)) block.summary.textContent = "Earlier messages could not be summarised";
    block.element.classList.toggle("part-failed", Boolean(part.is_error));
    if (part.result_reset || "result" in part) this.replaceText(block, "");
    const text = "result" in part ? pretty(part.result) : (part.result_delta ?? "");
    block.text += text;
    block.waiting += text;
  }

  /** Show a picture that the model made; other files are shown once they are stored. */
  addPicture({ media_type, data }) {
    if (!PICTURES.has(media_type) || !data) return false;
    const block = this.newBlock("picture");
    const picture = document.createElement("img");
    picture.src = `data:${media_type};base64,${data}`;
    picture.alt = media_type;
    const figure = document.createElement("figure");
    figure.className = "picture";
    figure.append(picture);
    block.element.replaceWith(figure);
    block.element = figure;
    return true;
  }

  replaceText(block, text) {
    block.target.replaceChildren();
    block.node = undefined;
    block.text = text;
    block.waiting = text;
  }

  newBlock(kind) {
    const block = { kind, text: "", waiting: "", target: document.createElement("div") };
    block.target.className = "plain";
    block.element = block.target;
    if (kind !== "text") {
      block.element = document.createElement("details");
      block.element.className = `part part-${kind}`;
      block.summary = document.createElement("summary");
      block.summary.textContent = kind === "reasoning" ? "Reasoning" : "Calls a tool";
      block.element.append(block.summary, block.target);
    }
    this.element.querySelector(".message-body").append(block.element);
    this.blocks.push(block);
    return block;
  }

  flush() {
    this.frame = 0;
    for (const block of this.blocks) {
      if (!block.waiting) continue;
      write(block, block.waiting);
      block.waiting = "";
    }
    this.onFlush?.();
  }

  /** Hand the bubble over to a stored message and go on with a fresh one behind it. */
  seal() {
    cancelAnimationFrame(this.frame);
    this.flush();
    const sealed = this.element;
    sealed.removeAttribute("id");
    sealed.querySelector(".typing")?.remove();
    this.element = this.template.cloneNode(true);
    sealed.after(this.element);
    this.reset();
    return sealed;
  }

  /** Whether a stored message holds what the bubble shows; a cut on either side is allowed. */
  isCoveredBy(message) {
    const parts = message.content ?? [];
    const ids = new Set(parts.map((part) => part.tool_call_id).filter(Boolean));
    if ([...this.calls.keys()].some((id) => ids.has(id))) return true;
    for (const kind of ["text", "reasoning"]) {
      const mine = joined(this.blocks, (block) => block.kind === kind);
      const theirs = joined(parts, (part) => part.type === kind);
      if (mine && theirs) return mine.startsWith(theirs) || theirs.startsWith(mine);
    }
    return false;
  }
}

function isCompaction(part) {
  const id = part.tool_call_id ?? "";
  return part.tool_name === "chat_summarized" && id.startsWith("chat_summarized_");
}

function joined(items, wanted) {
  return items
    .filter(wanted)
    .map((item) => item.text)
    .join("")
    .trim();
}

// Long texts are cut at line ends into boxes of their own, so that a new word lays out a small
// box and not everything before it.
function write(block, text) {
  const cut = block.node?.length > CHUNK_CHARACTERS ? text.indexOf("\n") : -1;
  if (cut >= 0) {
    block.node.appendData(text.slice(0, cut));
    block.node = undefined;
    text = text.slice(cut + 1);
    if (!text) text = "\u200b";
  }
  if (!block.node) {
    const box = document.createElement("div");
    block.node = document.createTextNode("");
    box.append(block.node);
    block.target.append(box);
  }
  block.node.appendData(text);
}

function pretty(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
