/** The WebSocket to `/stream`: opened, watched, and opened again for as long as the page lives.
 *
 * Invariants: there is at most one socket whose messages are passed on; `opened` is called before
 * its first message, and `lost` once after it ended. Frames are sent at most at SENT_PER_SECOND_MAX.
 *
 * A connection that is silent for SILENCE_MS_MAX after a ping is replaced, without a wait for its
 * close: a laptop that wakes up has sockets that never end. All spans are measured on the
 * monotonic clock.
 */

import { signal, type ReadonlySignal } from "@preact/signals";
import { backoff } from "../http.ts";
import {
  CONNECT_MS_MAX,
  MEASURE_INTERVAL_MS,
  PING_INTERVAL_MS,
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  RECONNECT_REFUSED_MS_MIN,
  SEND_QUEUE_MAX,
  SENT_PER_SECOND_MAX,
  SILENCE_AFTER_SLEEP_MS_MAX,
  SILENCE_MS_MAX,
  SLEEP_MS_MIN,
  WATCH_INTERVAL_MS,
} from "../limits.ts";
import type { Connection } from "../model.ts";
import { object, parseJson, time, type JsonObject } from "../wire.ts";
import type { ExchangeClock } from "./clock.ts";

export interface StreamListener {
  opened(): void;
  received(message: JsonObject): void;
  lost(): void;
  /** Every second: `now` is monotonic. */
  tick(now: number): void;
}

/** Messages whose time is that of the commit just made, by the field that has it. */
const TIMED: Readonly<Record<string, string>> = {
  orderbook_delta: "timestamp",
  trade: "timestamp",
  order_update: "updated_at",
};
const CLOSE_MESSAGES: Readonly<Record<number, string>> = {
  1008: "The exchange refused the connection's requests.",
  1009: "The exchange refused a message of the screen as too large.",
  1012: "The exchange is restarting.",
  1013: "The screen read too slowly, or the exchange is busy.",
};
/** Errors after which the exchange closes the connection. */
const LAST_WORDS = ["slow_consumer", "silent", "disconnected"];
const DAPHNE_CODES = 3_000; // Daphne sends 4013 for 1013.

const INITIAL: Connection = { state: "connecting", message: null, roundTripMs: null, latenessMs: null };

export class StreamConnection {
  /** Connections that ended after they had been open. */
  losses = 0;
  /** Messages that could not be read. */
  unreadable = 0;

  readonly #state = signal<Connection>(INITIAL);
  readonly #url: string;
  readonly #listener: StreamListener;
  readonly #clock: ExchangeClock;
  readonly #openSocket: (url: string) => WebSocket;
  #socket: WebSocket | null = null;
  #retry: ReturnType<typeof setTimeout> | null = null;
  #attempt = 0;
  #isOpen = false;
  #hasHeard = false; // a message on this connection
  #startedAt = 0;
  #heardAt = 0;
  #pingId = 0;
  #lastPingAt = 0;
  #pingedAt = 0; // of a ping that was not answered yet, or 0
  #silenceMsMax = SILENCE_MS_MAX;
  #tickedAt = performance.now();
  #tickedAtWall = Date.now();
  #lastWords: string | null = null;
  #sentAt: number[] = [];
  #queue: string[] = [];
  #queueTimer: ReturnType<typeof setTimeout> | null = null;
  #roundTripMs: number | null = null;
  #latenessMs: number | null = null;
  #measuredAt = 0;

  constructor(
    url: string,
    listener: StreamListener,
    clock: ExchangeClock,
    openSocket: (url: string) => WebSocket = (address) => new WebSocket(address),
  ) {
    this.#url = url;
    this.#listener = listener;
    this.#clock = clock;
    this.#openSocket = openSocket;
  }

  get state(): ReadonlySignal<Connection> {
    return this.#state;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Connect, and stay connected. */
  start(): void {
    setInterval(() => this.#watch(), WATCH_INTERVAL_MS);
    globalThis.addEventListener?.("online", () => this.#hurry());
    globalThis.addEventListener?.("offline", () => this.#checkSoon());
    globalThis.document?.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") {
        this.#hurry();
      }
    });
    this.#connect();
  }

  /** Send a message if the connection is open; what is sent before is lost. */
  send(message: object): void {
    if (!this.#isOpen || this.#queue.length >= SEND_QUEUE_MAX) {
      return;
    }
    this.#queue.push(JSON.stringify(message));
    this.#sendQueue();
  }

  #connect(): void {
    this.#stopRetry();
    this.#startedAt = performance.now();
    this.#hasHeard = false;
    this.#lastWords = null;
    this.#show("connecting", this.#state.peek().message);
    const socket = this.#openSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => this.#onOpen();
    socket.onmessage = (event) => this.#onMessage(String(event.data));
    socket.onclose = (event) => this.#onClose(event.code);
  }

  #onOpen(): void {
    this.#isOpen = true;
    this.#heardAt = performance.now();
    this.#silenceMsMax = SILENCE_MS_MAX;
    this.#show("open", null);
    this.#listener.opened();
    this.#ping();
  }

  #onMessage(content: string): void {
    const now = performance.now();
    this.#heardAt = now;
    if (!this.#hasHeard) {
      this.#hasHeard = true;
      this.#attempt = 0;
    }
    try {
      const message = object(parseJson(content));
      const type = message["type"] as string;
      if (type === "pong") {
        this.#onPong(message["id"], now);
      } else if (type === "error" && LAST_WORDS.includes(String(message["code"]))) {
        this.#lastWords = String(message["message"]);
      }
      const field = TIMED[type];
      if (field !== undefined) {
        this.#latenessMs = this.#clock.lateness(time(message[field]), now);
        this.#measure(now);
      }
      this.#listener.received(message);
    } catch (error) {
      this.unreadable += 1;
      console.warn("can't read a message of the stream:", error);
    }
  }

  #onPong(id: unknown, now: number): void {
    if (id === this.#pingId && this.#pingedAt) {
      this.#roundTripMs = now - this.#pingedAt;
      this.#pingedAt = 0;
      this.#measure(now);
    }
  }

  #onClose(code: number): void {
    const plain = code > DAPHNE_CODES + 1_000 ? code - DAPHNE_CODES : code;
    const known = this.#lastWords ?? CLOSE_MESSAGES[plain];
    this.#end(known ?? "The exchange can't be reached.", plain === 1008 ? RECONNECT_REFUSED_MS_MIN : 0);
  }

  /** Leave the socket, whatever its state, and connect again after a while. */
  #end(message: string, waitMsMin: number): void {
    const socket = this.#socket;
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      this.#socket = null;
    }
    this.#queue = [];
    this.#sentAt = [];
    this.#roundTripMs = this.#latenessMs = null;
    this.#pingedAt = 0;
    if (this.#isOpen) {
      this.#isOpen = false;
      this.losses += 1;
      this.#listener.lost();
    }
    this.#attempt += 1;
    const isOffline = globalThis.navigator?.onLine === false;
    this.#show(isOffline ? "offline" : "waiting", isOffline ? "This device is offline." : message);
    const wait = Math.max(waitMsMin, backoff(this.#attempt, RECONNECT_MS_MIN, RECONNECT_MS_MAX));
    this.#stopRetry();
    this.#retry = setTimeout(() => this.#connect(), wait);
  }

  #stopRetry(): void {
    if (this.#retry !== null) {
      clearTimeout(this.#retry);
      this.#retry = null;
    }
  }

  /** The network or the page is back: connect at once, or prove that the connection lives. */
  #hurry(): void {
    if (this.#retry !== null) {
      this.#connect();
    } else if (this.#isOpen) {
      this.#checkSoon();
    }
  }

  #checkSoon(): void {
    this.#silenceMsMax = SILENCE_AFTER_SLEEP_MS_MAX;
    this.#pingedAt = 0;
    if (this.#isOpen) {
      this.#ping();
    }
  }

  #ping(): void {
    this.#pingId += 1;
    this.#pingedAt = this.#lastPingAt = performance.now();
    this.send({ type: "ping", id: this.#pingId });
  }

  /** Every second: notice sleep, silence, and a connection that never opens. */
  #watch(): void {
    const now = performance.now();
    const wall = Date.now();
    const passed = now - this.#tickedAt;
    const passedOnWall = wall - this.#tickedAtWall;
    this.#tickedAt = now;
    this.#tickedAtWall = wall;
    // The monotonic clock may stand still while the computer sleeps, the wall clock does not. A
    // page in the background has few ticks; then this check is harmless.
    if (passed > SLEEP_MS_MIN || Math.abs(passedOnWall - passed) > SLEEP_MS_MIN) {
      this.#clock.reset();
      if (this.#isOpen && this.#pingedAt && this.#heardAt < this.#pingedAt) {
        this.#end("The exchange went silent.", 0);
      } else {
        this.#hurry();
      }
    } else if (this.#isOpen) {
      this.#measure(now);
      this.#watchSilence(now);
    } else if (this.#socket !== null && now - this.#startedAt > CONNECT_MS_MAX) {
      this.#end("The exchange does not answer.", 0);
    }
    this.#listener.tick(now);
  }

  #watchSilence(now: number): void {
    if (this.#pingedAt) {
      if (now - Math.max(this.#pingedAt, this.#heardAt) > this.#silenceMsMax) {
        this.#end("The exchange went silent.", 0);
      }
    } else {
      this.#silenceMsMax = SILENCE_MS_MAX;
      if (now - this.#lastPingAt >= PING_INTERVAL_MS) {
        this.#ping();
      }
    }
  }

  #sendQueue(): void {
    const now = performance.now();
    this.#sentAt = this.#sentAt.filter((at) => now - at < 1_000);
    while (this.#queue.length > 0 && this.#sentAt.length < SENT_PER_SECOND_MAX) {
      this.#socket?.send(this.#queue.shift() ?? "");
      this.#sentAt.push(now);
    }
    const [first] = this.#sentAt;
    if (this.#queue.length > 0 && this.#queueTimer === null && first !== undefined) {
      this.#queueTimer = setTimeout(
        () => {
          this.#queueTimer = null;
          this.#sendQueue();
        },
        1_000 - (now - first) + 1,
      );
    }
  }

  #measure(now: number): void {
    if (now - this.#measuredAt >= MEASURE_INTERVAL_MS) {
      this.#measuredAt = now;
      this.#show(this.#state.peek().state, this.#state.peek().message);
    }
  }

  #show(state: Connection["state"], message: string | null): void {
    this.#state.value = { state, message, roundTripMs: this.#roundTripMs, latenessMs: this.#latenessMs };
  }
}
