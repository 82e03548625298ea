/**
 * Keeps one Python child running: starts it, starts it again when it dies, tells OpenClaw the truth about it, and
 * stops it. One exists per process, whatever OpenClaw loads, discovers or reloads; see index.js.
 *
 * A reload of the plugin (`openclaw plugins reload`, an update, a changed setting) stops the old service and starts the
 * new one, and would end every call. So `stop` only parks the child unless the gateway itself is closing, and the next
 * `start` takes it over when nothing about it has changed. If something has, its calls are let go on for a while and a
 * new child follows. A child that nobody takes over is stopped.
 */

import { Child } from "./child.js";
import { BridgeError, messageOf } from "./lines.js";

/** Milliseconds. */
export const LIMITS = {
  /** OpenClaw gives a replaced service 5 s to start; what takes longer goes on behind its back and is reported. */
  start: 4_000,
  /** For Python to become ready: it opens its store, its port, maybe a tunnel, and loads its engines. */
  ready: 60_000,
  /** How long a request waits for a child that is being started, and which pause before a start it waits out. */
  request: 15_000,
  pause: 2_000,
  /** For calls to end; Python's own limit is 30 s. */
  drain: 35_000,
  kill: 3_000,
  /** OpenClaw lets admitted work of the old plugin go on for 60 s before it starts the new one. */
  parked: 75_000,
  /** Once the old plugin is gone the new one comes within seconds, or never: it was disabled or removed. */
  orphaned: 15_000,
  /** A child that was ready for as long counts as sound: if it dies, the next one starts at once. */
  sound: 10_000,
  /** Before the 1st, 2nd, ... start after a death; the last one again and again. */
  backoff: [0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000],
};

/**
 * @typedef {object} Host What the loaded plugin lends to the service.
 * @property {() => import("./python.js").Python} python
 * @property {(method: string, params: object, emit: Function, signal: AbortSignal) => unknown} answer
 * @property {(ready: import("./child.js").Ready) => void} [onReady]
 * @property {{info: Function, warn: Function, error: Function, debug?: Function}} log
 * @property {string[]} [args] For tests.
 */

export class Service {
  /** @type {Host} */
  host;
  /** Aborts when the gateway begins to close; absent where there is no gateway. @type {AbortSignal|undefined} */
  closing;
  /** True from `start` to `stop`. */
  isStarted = false;

  #limits;
  #child;
  #identity; // what the child was started with
  #health; // of the running start; OpenClaw forgets it by itself afterwards
  #deaths = 0;
  #timer; // of the next start, or of a parked child
  #respawn; // a promise of the next start, when it is near
  #trouble = "The voice-call service is not running.";
  #stopping; // the promise of a stop that goes on
  #predecessor; // the promise of the end of the child of older code

  /** Lines of the log go to whichever plugin is loaded when they come. */
  #log = {
    info: (line) => this.host.log.info(line),
    warn: (line) => this.host.log.warn(line),
    error: (line) => this.host.log.error(line),
    debug: (line) => this.host.log.debug?.(line),
  };

  /** @param {Service} [older] What another version of this code left in the process. @param {typeof LIMITS} [limits] */
  constructor(older, limits = LIMITS) {
    this.#limits = limits;
    this.closing = older?.closing;
    this.#predecessor = older?.retire();
  }

  /**
   * Start, or take over what an earlier plugin left running. It never throws: a service that threw would be given up
   * by OpenClaw, this one goes on trying.
   *
   * @param {{reportFailure: (error: Error) => void, clearFailure: () => void}} [health]
   */
  async start(health) {
    this.isStarted = true;
    this.#health = health;
    this.#deaths = 0;
    this.#clearTimer();
    if (this.#child && !this.#stopping && this.#identity === identityOf(this.host.python())) {
      this.#child.adopt();
      if (this.#child.isReady) this.#report(this.#trouble);
    } else void this.#replace();
    await within(this.#limits.start, this.#child?.ready).catch(() => {
      if (!this.#trouble) this.#report("The voice-call service is still starting.");
    });
  }

  /** The gateway closes: stop now. Otherwise keep the child for the plugin that comes next. */
  async stop() {
    this.isStarted = false;
    this.#health = undefined;
    this.#clearTimer();
    if (!this.#child) return;
    if (!this.closing || this.closing.aborted) return void (await this.#end());
    this.#endAfter(this.#limits.parked);
    this.closing.addEventListener("abort", () => this.isStarted || void this.#end(), { once: true });
  }

  /** The plugin that stopped us is gone. */
  disposed() {
    if (!this.isStarted && this.#child && !this.#stopping) this.#endAfter(this.#limits.orphaned);
  }

  /** Give up for good: newer code takes over. @returns {Promise<void>} When the child is gone. */
  async retire() {
    this.isStarted = false;
    this.#health = undefined;
    await this.#end();
  }

  /**
   * Ask Python. Where no gateway started the service (`openclaw agent --local`), it is started now and ends with the
   * process.
   *
   * @returns {Promise<unknown>} Rejects with a BridgeError.
   */
  async request(method, params, how) {
    if (!this.isStarted && !this.#child) await this.start();
    await this.#respawn?.promise;
    const child = this.#child;
    if (!child) throw new BridgeError("UNAVAILABLE", this.#trouble);
    if (!child.isReady) {
      await within(this.#limits.request, child.ready).catch((error) => {
        throw new BridgeError("UNAVAILABLE", messageOf(error));
      });
    }
    return child.request(method, params, how);
  }

  /** @returns {{pid?: number, ready: boolean, trouble: string}} For tests and messages. */
  get state() {
    return { pid: this.#child?.pid, ready: Boolean(this.#child?.isReady), trouble: this.#trouble };
  }

  /** Start a child, once the one before it is gone: there is one port and one store. */
  async #replace() {
    const before = this.#child ? this.#end() : this.#predecessor;
    this.#predecessor = undefined;
    if (before) {
      this.#report("The voice-call service is being replaced; calls that are going on may end first.");
      await before;
    }
    if (this.isStarted && !this.#child) this.#spawn();
  }

  #spawn() {
    const python = this.host.python();
    this.#identity = identityOf(python);
    this.#trouble = "";
    let child;
    try {
      child = new Child({
        python,
        args: this.host.args,
        answer: (...asked) => this.host.answer(...asked),
        onReady: (ready) => this.#onReady(child, ready),
        onHealth: ({ ok, message }) => this.#report(ok ? "" : message || "The voice-call service is not well."),
        log: this.#log,
      });
    } catch (error) {
      return this.#retry(`${python.command} could not be started: ${messageOf(error)}`);
    }
    this.#child = child;
    const late = setTimeout(() => this.#tooLate(child), this.#limits.ready);
    child.ready.catch(() => {}).finally(() => clearTimeout(late));
    void child.ended.then((message) => this.#onEnd(child, message));
  }

  #onReady(child, ready) {
    if (child !== this.#child) return;
    const sound = setTimeout(() => (this.#deaths = 0), this.#limits.sound);
    sound.unref();
    void child.ended.then(() => clearTimeout(sound));
    this.#report();
    this.host.log.info(`voice-call: ready at ${ready.url} (pid ${ready.pid})`);
    for (const notice of ready.notices ?? []) this.host.log.warn(`voice-call: ${notice}`);
    this.host.onReady?.(ready);
  }

  #tooLate(child) {
    this.host.log.error(`voice-call: Python was not ready after ${this.#limits.ready / 1000} s`);
    child.kill();
  }

  #onEnd(child, message) {
    if (child !== this.#child || child.isStopping) return;
    this.#child = undefined;
    if (!child.wasReady && this.#deaths === 0) this.#deaths = 1; // What failed to start fails again at once.
    if (this.isStarted) this.#retry(message);
  }

  #retry(message) {
    const delays = this.#limits.backoff;
    const delay = delays[Math.min(this.#deaths++, delays.length - 1)];
    const trouble = `${message.replace(/\.$/, "")}; it is started again${delay ? ` in ${delay / 1000} s` : ""}.`;
    this.host.log.error(`voice-call: ${trouble}`);
    this.#report(trouble);
    if (delay <= this.#limits.pause) this.#respawn = Promise.withResolvers();
    this.#timer = setTimeout(() => {
      const respawn = this.#respawn;
      this.#respawn = undefined;
      this.#spawn();
      respawn?.resolve();
    }, delay);
  }

  /** Stop the child for good. */
  #end() {
    const child = this.#child;
    this.#clearTimer();
    if (!child || this.#stopping) return this.#stopping;
    this.#trouble ||= "The voice-call service is stopping.";
    this.#stopping = child
      .stop({ drainMs: this.#limits.drain, killMs: this.#limits.kill })
      .then((message) => this.host.log.info(`voice-call: stopped (${message})`))
      .finally(() => {
        this.#stopping = undefined;
        this.#child = undefined;
        this.#trouble = "The voice-call service is not running.";
      });
    return this.#stopping;
  }

  /** Tell OpenClaw what is wrong; nothing means all is well. */
  #report(trouble = "") {
    this.#trouble = trouble;
    if (trouble) this.#health?.reportFailure(new Error(trouble));
    else this.#health?.clearFailure();
  }

  #endAfter(ms) {
    this.#clearTimer();
    this.#timer = setTimeout(() => void this.#end(), ms);
    this.#timer.unref();
  }

  #clearTimer() {
    clearTimeout(this.#timer);
    this.#timer = undefined; // A kept timer would keep the async context it was made in.
    this.#respawn?.resolve();
    this.#respawn = undefined;
  }
}

/** A child may be taken over only by a plugin that would start the same one. */
function identityOf({ command, env, version }) {
  return JSON.stringify([command, version, env]);
}

/** What the promise gives, or an error after `ms`. */
async function within(ms, promise) {
  const { promise: late, reject } = Promise.withResolvers();
  const timer = setTimeout(() => reject(new Error("The voice-call service is still starting; try again.")), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
