/** What the tests of the bridge share: a child that is scripted, and an OpenClaw that only takes notes. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { LIMITS, Service } from "../../openclaw_voicecall/host/openclaw/bridge/service.js";

export const PYTHON = process.env.BRIDGE_TEST_PYTHON ?? "python3";
export const FAKE_CHILD = fileURLToPath(new URL("fake_child.py", import.meta.url));

/** Milliseconds; a test that waits longer has failed. */
export const PATIENCE = 10_000;

/** Limits with which nothing is waited for in vain. */
export const QUICK = { ...LIMITS, start: 5_000, drain: 300, kill: 300, parked: 300, orphaned: 50, backoff: [0, 20, 40] };

/** A folder that goes with the test. */
export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), "bridge-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/**
 * A service over the scripted child.
 *
 * @param {import("node:test").TestContext} t It stops the service at its end.
 * @param {string} [scene] See fake_child.py.
 * @param {object} [more] Of the host; `limits` and `env` are taken out.
 */
export function serviceOf(t, scene = "", { limits = {}, env = {}, ...more } = {}) {
  const service = new Service(undefined, { ...QUICK, ...limits });
  const log = [];
  const note = (level) => (line) => log.push(`${level} ${line}`);
  const python = { command: PYTHON, from: "the test", version: "0.1.0" };
  service.host = {
    python: () => ({ ...python, env: { ...process.env, PYTHONUNBUFFERED: "1", ...env } }),
    args: [FAKE_CHILD, scene],
    answer: () => ({}),
    log: { info: note("info"), warn: note("warn"), error: note("error") },
    ...more,
  };
  const health = healthNotes();
  t.after(() => service.retire());
  return { service, log, health };
}

/** What OpenClaw is told of the service, newest last; "" is well. */
export function healthNotes() {
  const said = [];
  return { said, reportFailure: (error) => said.push(error.message), clearFailure: () => said.push("") };
}

/** Wait until something is true. */
export async function until(condition, what) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`in vain waited for: ${what ?? condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A plugin API that notes what is registered; `rootDir` has an interpreter.json for the scripted child. */
export function fakeApi(t, { mode = "full", config = {}, interpreter = { python: PYTHON }, runtime = {} } = {}) {
  const rootDir = folder(t);
  if (interpreter) writeFileSync(join(rootDir, "interpreter.json"), JSON.stringify(interpreter));
  const noted = { tools: {}, methods: {}, services: [], hooks: {}, commands: [], log: [] };
  const note = (level) => (line) => noted.log.push(`${level} ${line}`);
  return {
    noted,
    rootDir,
    registrationMode: mode,
    pluginConfig: config,
    config: { gateway: { port: 4000, auth: { mode: "token", token: "t" } } },
    runtime: { state: { resolveStateDir: () => "/state" }, ...runtime },
    logger: { info: note("info"), warn: note("warn"), error: note("error"), debug: note("debug") },
    lifecycle: { onDispose: (run) => (noted.dispose = run) },
    on: (name, run) => (noted.hooks[name] = run),
    registerTool: (make, { name }) => (noted.tools[name] = make),
    registerGatewayMethod: (name, handler, { scope }) => (noted.methods[name] = { handler, scope }),
    registerService: (service) => noted.services.push(service),
    registerCli: (register, { descriptors }) => noted.commands.push({ register, descriptors }),
  };
}

/** The lines that the scripted child got, with FAKE_CHILD_LOG set to `path`. */
export function linesIn(path) {
  return readFileSync(path, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
}
