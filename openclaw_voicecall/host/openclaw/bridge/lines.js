/**
 * Requests, answers and progress as JSON lines, the same in both directions.
 *
 *     {"id": "j1", "method": "voicecall.status", "params": {}}     a request; ours are j1, j2, ..., Python's p1, p2, ...
 *     {"id": "j1", "stream": {...}}                                progress, any number of times
 *     {"id": "j1", "result": ...}                                  the answer, or
 *     {"id": "j1", "error": {"code": "NOT_FOUND", "message": "..."}}
 *     {"event": "cancel", "id": "j1"}                              the asker no longer wants an answer
 *
 * Nothing here knows of processes or of OpenClaw: bytes come in by `receive`, lines go out by `write`.
 */

/** Bytes. A longer line is a mistake of somebody, and would be kept in memory until its end came. */
export const MAX_LINE = 1024 * 1024;

const NEWLINE = 0x0a;
const SHOWN = 200;

/** What the other side, or the tool's caller, is told: a code to branch on and one sentence that says what to do. */
export class BridgeError extends Error {
  /**
   * @param {"UNAVAILABLE"|"INVALID_REQUEST"|"NOT_FOUND"|"CANCELLED"|"FAILED"} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = "BridgeError";
    this.code = code;
  }
}

/**
 * @typedef {object} PeerOptions
 * @property {(line: string) => void} write Takes a whole line, with its newline.
 * @property {(method: string, params: object, emit: (progress: object) => void, signal: AbortSignal) => unknown} answer
 *   Answers the other side's requests; it may throw, and may return a promise.
 * @property {(event: {event: string}) => void} onEvent Takes events other than `cancel`.
 * @property {(message: string) => void} warn Takes a line for the log.
 */

/** One end of the line. */
export class LinePeer {
  #options;
  #asked = new Map(); // our requests that wait for an answer
  #answering = new Map(); // the other side's requests that we work on
  #count = 0;
  #closed; // the error that ended it
  #buffered = []; // pieces of a line whose end has not come
  #size = 0;

  /** @param {PeerOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /**
   * Ask the other side.
   *
   * @param {string} method
   * @param {object} params
   * @param {{signal?: AbortSignal, onProgress?: (progress: object) => void}} [how]
   * @returns {Promise<unknown>} Rejects with a BridgeError.
   */
  request(method, params, { signal, onProgress } = {}) {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      if (signal?.aborted) return reject(cancelled(method));
      const id = `j${++this.#count}`;
      const line = toLine({ id, method, params });
      if (!line) return reject(new BridgeError("INVALID_REQUEST", `The arguments of ${method} are too long.`));
      const onAbort = () => {
        this.#asked.delete(id);
        this.#send({ event: "cancel", id });
        reject(cancelled(method));
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      const settle = () => signal?.removeEventListener("abort", onAbort);
      this.#asked.set(id, { resolve, reject, settle, onProgress });
      this.#options.write(line);
    });
  }

  /** Take what came in, cut anywhere. @param {Buffer} chunk */
  receive(chunk) {
    let start = 0;
    for (let end; (end = chunk.indexOf(NEWLINE, start)) !== -1; start = end + 1) {
      this.#collect(chunk.subarray(start, end));
      this.#take();
    }
    this.#collect(chunk.subarray(start));
  }

  /** End it: what we asked fails with `error`, and what we were asked is aborted. @param {BridgeError} error */
  close(error) {
    if (this.#closed) return;
    this.#closed = error;
    for (const { reject, settle } of this.#asked.values()) {
      settle();
      reject(error);
    }
    this.#asked.clear();
    for (const controller of this.#answering.values()) controller.abort(error);
    this.#answering.clear();
  }

  #collect(piece) {
    this.#size += piece.length;
    // The beginning of a line that is too long is kept: it may tell which request it belongs to.
    if (this.#size <= MAX_LINE || this.#buffered.length === 0) this.#buffered.push(piece);
  }

  #take() {
    const size = this.#size;
    const line = Buffer.concat(this.#buffered);
    this.#buffered = [];
    this.#size = 0;
    if (size > MAX_LINE) return this.#refuseLong(line.subarray(0, SHOWN).toString(), size);
    const text = line.toString().trim();
    if (!text) return;
    const message = parseObject(text);
    if (!message) return this.#options.warn(`a line from Python is no JSON object: ${text.slice(0, SHOWN)}`);
    this.#dispatch(message);
  }

  #refuseLong(beginning, size) {
    this.#options.warn(`a line of ${size} bytes from Python is too long, it was left out`);
    const id = /^\{"id":\s*"([jp]\d+)"/.exec(beginning)?.[1];
    const problem = { code: "FAILED", message: `A line of ${size} bytes is too long; the limit is ${MAX_LINE}.` };
    if (this.#asked.has(id)) this.#dispatch({ id, error: problem });
    else if (id?.startsWith("p")) this.#send({ id, error: problem });
  }

  #dispatch(message) {
    if (message.event === "cancel") this.#answering.get(message.id)?.abort(cancelled("The request"));
    else if (typeof message.event === "string") this.#options.onEvent(message);
    else if (typeof message.method === "string") this.#answer(message);
    else if (this.#asked.has(message.id)) this.#settle(message);
    // What is left answers a request that was cancelled meanwhile.
  }

  #settle({ id, stream, result, error }) {
    const { resolve, reject, settle, onProgress } = this.#asked.get(id);
    if (stream !== undefined) return onProgress?.(stream);
    this.#asked.delete(id);
    settle();
    if (error) reject(new BridgeError(error.code ?? "FAILED", error.message ?? "The request failed."));
    else resolve(result);
  }

  async #answer({ id, method, params }) {
    const controller = new AbortController();
    this.#answering.set(id, controller);
    const emit = (stream) => {
      if (!controller.signal.aborted) this.#send({ id, stream });
    };
    try {
      const result = await this.#options.answer(method, params ?? {}, emit, controller.signal);
      if (!this.#send({ id, result: result ?? null }))
        this.#send({ id, error: { code: "FAILED", message: `The answer to ${method} is too long.` } });
    } catch (error) {
      const code = controller.signal.aborted ? "CANCELLED" : (error?.code ?? "FAILED");
      this.#send({ id, error: { code: String(code), message: messageOf(error) } });
    } finally {
      this.#answering.delete(id);
    }
  }

  /** @returns {boolean} False when the message is too long to be sent. */
  #send(message) {
    if (this.#closed) return true;
    const line = toLine(message);
    if (line) this.#options.write(line);
    return Boolean(line);
  }
}

/** The text of anything that was thrown. @param {unknown} error @returns {string} */
export function messageOf(error) {
  return String(error?.message ?? error);
}

function cancelled(what) {
  return new BridgeError("CANCELLED", `${what} was cancelled.`);
}

function toLine(message) {
  const line = `${JSON.stringify(message)}\n`;
  return Buffer.byteLength(line) <= MAX_LINE ? line : undefined;
}

function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
