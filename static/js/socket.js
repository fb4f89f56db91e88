// One WebSocket that comes back by itself: back-off with jitter, a watchdog for the handshake,
// and an immediate new try when the page becomes visible or the network returns.

const FIRST_DELAY_MS = 1000;
const MAX_DELAY_MS = 10000;
const HANDSHAKE_MS = 10000;
const SILENCE_MS = 30000;
const HINT_AFTER_MS = 2000;
const ANSWER_MS = 4000;
const FAILURES_BEFORE_ASKING = 3;

export class LiveSocket {
  /**
   * `url()` is asked on every connect, so that a cursor in it is current. `onOpen()` and
   * `onFrame(value)` follow the socket, `onOffline(bool)` drives a hint, and `mayRetry()`
   * (a promise) is asked after some failed handshakes: false ends it for good.
   */
  constructor({ url, onOpen, onFrame, onOffline, mayRetry }) {
    this.options = { url, onOpen, onFrame, onOffline, mayRetry };
    this.failures = 0;
    this.lastFrameAt = 0;
    this.stopped = false;
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.wake();
    });
    window.addEventListener("online", () => this.wake());
    window.addEventListener("pageshow", (event) => event.persisted && this.wake());
    this.connect();
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Connect at once unless the socket is known to be alive, or is being opened. */
  wake() {
    if (this.stopped || this.socket?.readyState === WebSocket.CONNECTING) return;
    if (!this.isOpen || Date.now() - this.lastFrameAt > SILENCE_MS) this.connect();
  }

  /** Something was asked for that the socket must tell of; a silent one is replaced. */
  expectFrame() {
    const since = Date.now();
    if (!this.isOpen) this.wake();
    setTimeout(() => {
      if (this.isOpen && this.lastFrameAt < since && !this.stopped) this.connect();
    }, ANSWER_MS);
  }

  connect() {
    this.drop();
    clearTimeout(this.retryTimer);
    const target = new URL(this.options.url(), location.href);
    target.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(target);
    this.socket = socket;
    const watchdog = setTimeout(() => this.lost(socket), HANDSHAKE_MS);
    socket.onopen = () => {
      clearTimeout(watchdog);
      this.opened();
    };
    socket.onmessage = (event) => {
      this.lastFrameAt = Date.now();
      this.failures = 0;
      this.options.onFrame(JSON.parse(event.data));
    };
    socket.onclose = () => {
      clearTimeout(watchdog);
      this.lost(socket);
    };
  }

  opened() {
    this.lastFrameAt = Date.now();
    clearTimeout(this.hintTimer);
    this.hintTimer = undefined;
    this.options.onOffline(false);
    this.options.onOpen();
  }

  /** Forget the current socket without waiting for its end. */
  drop() {
    const socket = this.socket;
    this.socket = undefined;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  async lost(socket) {
    if (socket !== this.socket) return;
    this.drop();
    this.failures += 1;
    this.hintTimer ??= setTimeout(() => this.options.onOffline(true), HINT_AFTER_MS);
    if (this.failures % FAILURES_BEFORE_ASKING === 0 && !(await this.options.mayRetry())) {
      this.stopped = true;
      clearTimeout(this.hintTimer);
      this.options.onOffline(false);
      return;
    }
    if (this.socket) return;
    const delay = Math.min(FIRST_DELAY_MS * 2 ** (this.failures - 1), MAX_DELAY_MS);
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.connect(), delay * (0.5 + Math.random() / 2));
  }
}
