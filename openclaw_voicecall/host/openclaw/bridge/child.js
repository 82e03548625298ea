/** One Python process and the line to it. It is started once and ends once; starting it again is the service's business. */

import { AsyncLocalStorage } from "node:async_hooks";
import { spawn } from "node:child_process";

import { BridgeError, LinePeer, messageOf } from "./lines.js";
import { noPackage, noPython } from "./python.js";

const MODULE = "openclaw_voicecall.host.openclaw";
const LAST_LINES_MS = 200; // for what Python wrote in its last moment
const LEVELS = /\s(DEBUG|INFO|WARNING|ERROR|CRITICAL)\s/;

/**
 * @typedef {object} Ready
 * @property {number} pid
 * @property {string} version
 * @property {string} url Where it listens, such as http://127.0.0.1:3334.
 * @property {string} stateDir
 * @property {string[]} [notices] What its user should know about the settings.
 */

/**
 * @typedef {object} ChildOptions
 * @property {import("./python.js").Python} python
 * @property {string[]} [args] Instead of the module, in tests.
 * @property {(method: string, params: object, emit: Function, signal: AbortSignal) => unknown} answer
 * @property {(ready: Ready) => void} onReady
 * @property {(health: {ok: boolean, message?: string}) => void} onHealth
 * @property {{info: Function, warn: Function, error: Function, debug?: Function}} log
 */

export class Child {
  /** Resolves when Python is ready, rejects when it ends before. @type {Promise<Ready>} */
  ready;
  /** Resolves with a sentence about how it ended. @type {Promise<string>} */
  ended;
  /** True between ready and the end. */
  isReady = false;
  /** True from ready on. */
  wasReady = false;
  /** True from the first request to stop. */
  isStopping = false;

  #process;
  #peer;
  #inContext;
  #resolveReady;
  #failure; // Python's own words about why it cannot run
  #lastWords = "";

  /** @param {ChildOptions} options */
  constructor(options) {
    const { python, args = ["-m", MODULE] } = options;
    this.adopt();
    this.#process = spawn(python.command, args, { env: python.env, stdio: ["pipe", "pipe", "pipe"] });
    this.#peer = new LinePeer({
      write: (line) => this.#process.stdin.write(line),
      answer: (...asked) => this.#inContext(() => options.answer(...asked)),
      onEvent: (event) => this.#onEvent(event, options),
      warn: (message) => options.log.warn(message),
    });
    const { promise: ready, resolve, reject } = Promise.withResolvers();
    this.ready = ready;
    this.ready.catch(() => {}); // Whoever waits gets the error; nobody has to wait.
    this.#resolveReady = resolve;
    this.ended = this.#follow(options).catch(messageOf).then((message) => {
      const error = new BridgeError("UNAVAILABLE", message);
      this.isReady = false;
      reject(error);
      this.#peer.close(error);
      return message;
    });
  }

  get pid() {
    return this.#process.pid;
  }

  /**
   * Work for Python's requests from now on in the caller's async context. OpenClaw ties such a context to one life of
   * the plugin; work from an earlier one is refused as if the gateway were shutting down.
   */
  adopt() {
    this.#inContext = AsyncLocalStorage.snapshot();
  }

  /** Ask Python; see LinePeer.request. */
  request(method, params, how) {
    return this.#peer.request(method, params, how);
  }

  /**
   * End it: a signal, on which Python lets calls go on for a while with the line still open; then the end of its
   * input and a kill. Windows knows no such signal, there the end of the input comes first.
   *
   * @param {{drainMs: number, killMs: number}} limits
   * @returns {Promise<string>} How it ended.
   */
  async stop({ drainMs, killMs }) {
    this.isStopping = true;
    if (process.platform === "win32") this.#process.stdin.end();
    else this.#process.kill("SIGTERM");
    const hurry = setTimeout(() => this.#process.stdin.end(), drainMs);
    const kill = setTimeout(() => this.#process.kill("SIGKILL"), drainMs + killMs);
    try {
      return await this.ended;
    } finally {
      clearTimeout(hurry);
      clearTimeout(kill);
    }
  }

  /** End it without waiting, when it did not become ready in time. */
  kill() {
    this.#process.kill("SIGKILL");
  }

  #onEvent(event, { onReady, onHealth, log }) {
    if (event.event === "ready") {
      this.isReady = this.wasReady = true;
      this.#inContext(() => onReady(event)); // At once: what Python says of its health may stand in the next line.
      this.#resolveReady(event);
    } else if (event.event === "failed") this.#failure = String(event.message ?? "");
    else if (event.event === "health") this.#inContext(() => onHealth(event));
    else log.warn(`Python told of an unknown event: ${event.event}`);
  }

  /** Read until the process is gone. @returns {Promise<string>} How it ended. */
  async #follow({ python, log }) {
    const { stdin, stdout, stderr } = this.#process;
    stdin.on("error", () => {}); // The end of the process tells more than the broken pipe.
    stdout.on("data", (chunk) => this.#peer.receive(chunk));
    followLines(stderr, (line) => {
      this.#lastWords = line;
      writeLog(log, line);
    });
    // Should this program end without stopping us, Python sees the end of its input; the signal only makes it quicker.
    const onExit = () => this.#process.kill("SIGTERM");
    process.once("exit", onExit);
    const [code, signal, error] = await new Promise((resolve) => {
      this.#process.once("error", (problem) => resolve([null, null, problem]));
      this.#process.once("close", (...how) => resolve(how));
      // A program that Python started may hold its output open for as long as it likes.
      this.#process.once("exit", (...how) => setTimeout(resolve, LAST_LINES_MS, how));
    });
    process.removeListener("exit", onExit);
    for (const stream of [stdin, stdout, stderr]) stream.destroy();
    return this.#explain(python, code, signal, error);
  }

  #explain(python, code, signal, error) {
    if (this.#failure) return this.#failure;
    if (error?.code === "ENOENT" || error?.code === "EACCES") return noPython(python);
    if (error) return `${python.command} could not be started: ${error.message}`;
    if (/No module named '?openclaw_voicecall'?\)?$/.test(this.#lastWords)) return noPackage(python);
    const how = signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
    return `The Python service ${how}${code && this.#lastWords ? `: ${this.#lastWords.trim()}` : "."}`;
  }
}

function followLines(stream, take) {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.trim()) take(line);
  });
  stream.on("end", () => rest.trim() && take(rest));
}

/** Python's log has OpenClaw's levels, so that `openclaw logs` can be filtered. */
function writeLog(log, line) {
  const level = LEVELS.exec(line)?.[1];
  if (level === "ERROR" || level === "CRITICAL") log.error(line);
  else if (level === "WARNING") log.warn(line);
  else if (level === "DEBUG") log.debug?.(line);
  else log.info(line);
}
