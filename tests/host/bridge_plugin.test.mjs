import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { test } from "node:test";

import { hostMethods } from "../../openclaw_voicecall/host/openclaw/bridge/agent.js";
import { runCommand, wordsAfter } from "../../openclaw_voicecall/host/openclaw/bridge/commands.js";
import plugin from "../../openclaw_voicecall/host/openclaw/bridge/index.js";
import { registerMethods } from "../../openclaw_voicecall/host/openclaw/bridge/methods.js";
import { findPython } from "../../openclaw_voicecall/host/openclaw/bridge/python.js";
import { registerTool } from "../../openclaw_voicecall/host/openclaw/bridge/tool.js";
import { FAKE_CHILD, fakeApi, folder, healthNotes, isAlive, PYTHON, serviceOf } from "./bridge_rig.mjs";

const KEY = Symbol.for("openclaw-voicecall.bridge");

function toolOf(t, request = async () => ({ callId: "c1" }), config = {}) {
  const api = fakeApi(t, { config });
  registerTool(api, { request });
  return api.noted.tools.voice_call({ sessionKey: "agent:main:main", agentId: "main", messageChannel: "telegram" });
}

test("registering says and starts nothing, and all registrations share one service", (t) => {
  t.after(() => delete globalThis[KEY]);
  const written = t.mock.method(process.stdout, "write", () => true);
  const first = fakeApi(t);
  plugin.register(first);
  const { service } = globalThis[KEY];
  plugin.register(fakeApi(t, { mode: "discovery" }));
  plugin.register(fakeApi(t, { mode: "cli-metadata" }));
  const calls = written.mock.callCount();
  written.mock.restore();
  assert.equal(calls, 0);
  assert.equal(globalThis[KEY].service, service);
  assert.equal(service.host.log, first.logger);
  assert.equal(service.state.pid, undefined);
  assert.deepEqual(first.noted.log, []);
});

test("the plugin that runs in full lends its API to the service, others only if there is none", (t) => {
  t.after(() => delete globalThis[KEY]);
  const early = fakeApi(t, { mode: "discovery" });
  plugin.register(early);
  assert.equal(globalThis[KEY].service.host.log, early.logger);
  const full = fakeApi(t);
  plugin.register(full);
  plugin.register(fakeApi(t, { mode: "discovery" }));
  assert.equal(globalThis[KEY].service.host.log, full.logger);
});

test("code of another version gets a service of its own, but only where it runs in full", (t) => {
  t.after(() => delete globalThis[KEY]);
  const { service: older } = serviceOf(t);
  globalThis[KEY] = { code: "of another version", service: older };
  plugin.register(fakeApi(t, { mode: "discovery" }));
  assert.equal(globalThis[KEY].service, older);
  plugin.register(fakeApi(t));
  assert.notEqual(globalThis[KEY].service, older);
});

test("all methods, the tool, the command and the service are registered by their known names", (t) => {
  t.after(() => delete globalThis[KEY]);
  const api = fakeApi(t);
  plugin.register(api);
  const names = "initiate start continue continue.start continue.result speak dtmf transfer end status".split(" ");
  assert.deepEqual(Object.keys(api.noted.methods), names.map((name) => `voicecall.${name}`));
  assert.equal(api.noted.methods["voicecall.status"].scope, "operator.read");
  assert.equal(api.noted.methods["voicecall.initiate"].scope, "operator.write");
  assert.deepEqual(Object.keys(api.noted.tools), ["voice_call"]);
  assert.deepEqual(api.noted.commands[0].descriptors.map(({ name }) => name), ["voicecall"]);
  assert.equal(api.noted.services.length, 1);
});

test("a package of another version is told of once", (t) => {
  t.after(() => delete globalThis[KEY]);
  const api = fakeApi(t, { interpreter: { python: PYTHON, version: "0.3.0" } });
  plugin.register(api);
  const { host } = globalThis[KEY].service;
  host.onReady({ version: "0.3.0" });
  assert.equal(api.noted.log.length, 0);
  host.onReady({ version: "0.4.0" });
  host.onReady({ version: "0.4.0" });
  assert.equal(api.noted.log.length, 1);
  assert.match(api.noted.log[0], /0\.3\.0.*0\.4\.0; run: openclaw-voicecall openclaw install/);
});

/** The plugin as a gateway runs it, over the scripted child. */
function inGateway(t, config) {
  const api = fakeApi(t, { config });
  plugin.register(api);
  const { service } = globalThis[KEY];
  const asked = [];
  service.host = { ...service.host, args: [FAKE_CHILD], answer: async (method) => asked.push(method) && {} };
  t.after(async () => {
    delete globalThis[KEY];
    await service.retire();
  });
  return { api, service, asked, run: api.noted.services[0] };
}

test("a service that starts warms the agent up, unless it is told not to", async (t) => {
  const { run, asked } = inGateway(t, {});
  await run.start({ serviceHealth: healthNotes() });
  assert.deepEqual(asked, ["agent.prewarm"]);
  delete globalThis[KEY];
  const cold = inGateway(t, { prewarm: false });
  await cold.run.start({ serviceHealth: healthNotes() });
  assert.deepEqual(cold.asked, []);
});

test("a plugin that is replaced leaves the child to the next, a gateway that closes does not", async (t) => {
  const { api, service, run } = inGateway(t, {});
  const closing = new AbortController();
  await run.start({ serviceHealth: healthNotes() });
  api.noted.hooks.gateway_start({}, { abortSignal: closing.signal });
  const { pid } = service.state;
  await run.stop();
  assert.equal(isAlive(pid), true);
  await run.start({ serviceHealth: healthNotes() });
  assert.equal(service.state.pid, pid);
  closing.abort();
  await run.stop();
  assert.equal(isAlive(pid), false);
});

test("the interpreter is that of the settings, of the installer, of the environment, or the usual one", (t) => {
  const where = (config, interpreter, env) => findPython(fakeApi(t, { config, interpreter }), env).command;
  const env = { OPENCLAW_VOICECALL_PYTHON: "/env" };
  assert.equal(where({ python: "/set" }, { python: "/file" }, env), "/set");
  assert.equal(where({}, { python: "/file" }, env), "/file");
  assert.equal(where({}, null, env), "/env");
  assert.equal(where({}, null, {}), "python3");
});

test("Python gets the settings, the way to the gateway, and the package's folder", (t) => {
  const config = { a: 1, python: "/p", prewarm: false };
  const api = fakeApi(t, { config, interpreter: { python: "/p", package: "/src", version: "1" } });
  const { env } = findPython(api, { PYTHONPATH: "/mine", OPENCLAW_GATEWAY_PORT: "5000" });
  assert.deepEqual(JSON.parse(env.OPENCLAW_VOICECALL_CONFIG), { a: 1 });
  assert.deepEqual(JSON.parse(env.OPENCLAW_VOICECALL_GATEWAY), { port: 5000, auth: { mode: "token", token: "t" } });
  assert.equal(env.PYTHONPATH, ["/src", "/mine"].join(delimiter));
  assert.equal(env.OPENCLAW_STATE_DIR, "/state");
  assert.equal(env.PYTHONUNBUFFERED, "1");
});

test("Python is told which agent owns calls where no setting does", (t) => {
  const owner = (agents, config = {}) => {
    const runtime = { config: { current: () => ({ agents }) } };
    return JSON.parse(findPython(fakeApi(t, { config, runtime }), {}).env.OPENCLAW_VOICECALL_CONFIG).agentId;
  };
  assert.equal(owner(undefined), undefined);
  assert.equal(owner({ list: [{ id: "Jarvis" }] }), "jarvis");
  assert.equal(owner({ entries: { jarvis: {} } }), "jarvis");
  assert.equal(owner({ list: [{ id: "main" }, { id: "jarvis", default: true }] }), "jarvis");
  assert.equal(owner({ list: [{ id: "main" }, { id: "jarvis" }] }), undefined);
  assert.equal(owner({ list: [{ id: "jarvis" }] }, { agentId: "ada" }), "ada");
});

test("a damaged interpreter.json is as good as none", (t) => {
  const api = fakeApi(t, { interpreter: null });
  writeFileSync(join(api.rootDir, "interpreter.json"), "{");
  assert.equal(findPython(api, {}).command, "python3");
});

test("the tool hands the order on, with whose it is, and returns what Python says", async (t) => {
  const asked = [];
  const tool = toolOf(t, async (...order) => asked.push(order) && { callId: "c1" });
  const given = { action: "initiate_call", to: "+15550001234", message: "Hi", mode: null };
  const { signal } = new AbortController();
  const result = await tool.execute("t1", given, signal);
  const [method, params, how] = asked[0];
  assert.equal(method, "tool.voice_call");
  const _ctx = { sessionKey: "agent:main:main", agentId: "main", channel: "telegram" };
  assert.deepEqual(params, { action: "initiate_call", to: "+15550001234", message: "Hi", _ctx });
  assert.equal(how.signal, signal);
  assert.deepEqual(JSON.parse(result.content[0].text), { callId: "c1" });
  assert.deepEqual(result.details, { callId: "c1" });
});

test("the tool is in the model's list, and names its seven actions", (t) => {
  const tool = toolOf(t);
  assert.equal(tool.catalogMode, "direct-only");
  assert.deepEqual(tool.parameters.properties.action.enum, [
    "initiate_call",
    "continue_call",
    "speak_to_user",
    "send_dtmf",
    "transfer_call",
    "end_call",
    "get_status",
  ]);
  assert.deepEqual(Object.keys(tool.parameters.properties), [
    "action",
    "to",
    "announce",
    "message",
    "mode",
    "dtmfSequence",
    "callId",
    "digits",
  ]);
});

test("arguments that are missing or do not belong are named, and nothing is dialled", async (t) => {
  const tool = toolOf(t, () => assert.fail("Python was asked"));
  const refused = (given, said) => assert.rejects(tool.execute("t1", given), said);
  await refused({ action: "continue_call", callId: "" }, /continue_call needs callId and message\./);
  await refused({ action: "send_dtmf", callId: "c1" }, /send_dtmf needs digits\./);
  await refused({ action: "end_call", callId: "c1", to: "+1" }, /end_call does not take to; it takes callId\./);
  await refused({ action: "dance" }, /action must be one of initiate_call, /);
  await refused(undefined, /action must be one of/);
});

test("the tool's errors keep the sentence and the code", async (t) => {
  const { service } = serviceOf(t);
  const tool = toolOf(t, (...order) => service.request(...order));
  const order = { action: "end_call", callId: "c1" };
  await assert.rejects(tool.execute("t1", order), { message: "voice_call: There is no such call. (NOT_FOUND)" });
});

test("an agent that is stopped stops waiting for the caller's answer, and shows that it rang", async (t) => {
  const { service } = serviceOf(t);
  const tool = toolOf(t, (...order) => service.request(...order));
  const stop = new AbortController();
  const shown = [];
  const order = { action: "continue_call", callId: "wait", message: "Well?" };
  const onUpdate = ({ progress }) => {
    shown.push(progress.text);
    stop.abort();
  };
  await assert.rejects(tool.execute("t1", order, stop.signal, onUpdate), /CANCELLED/);
  assert.deepEqual(shown, ["ringing"]);
});

test("OpenClaw waits for an answer as long as Python does", (t) => {
  const tool = toolOf(t, undefined, { transcriptTimeoutMs: 5_000 });
  assert.equal(tool.getExecutionTimeoutMs({ action: "continue_call" }), 65_000);
  assert.equal(tool.getExecutionTimeoutMs({ action: "get_status" }), undefined);
});

test("a gateway method answers with the result, or with the code and the sentence", async (t) => {
  const { service } = serviceOf(t);
  const api = fakeApi(t);
  registerMethods(api, service);
  const call = (name, params) =>
    new Promise((resolve) => api.noted.methods[name].handler({ params, respond: (...answer) => resolve(answer) }));
  const [ok, payload] = await call("voicecall.continue.start", { callId: "c1", message: "Hi" });
  assert.equal(ok, true);
  assert.deepEqual(payload, { method: "voicecall.continue.start", params: { callId: "c1", message: "Hi" } });
  const [fine, , error] = await call("voicecall.end", { action: "end_call" });
  assert.equal(fine, false);
  assert.deepEqual(error, { code: "NOT_FOUND", message: "There is no such call." });
});

/** An OpenClaw whose agent says what the test wants. */
function agentApi(t, runEmbeddedAgent) {
  const rows = new Map();
  const told = [];
  const agent = {
    resolveAgentWorkspaceDir: (_config, id) => `/work/${id}`,
    resolveAgentDir: (_config, id) => `/agents/${id}`,
    ensureAgentWorkspace: async () => {},
    runEmbeddedAgent,
    session: {
      resolveStorePath: () => "/store",
      getSessionEntry: ({ sessionKey }) => rows.get(sessionKey),
      upsertSessionEntry: async ({ sessionKey, entry }) => rows.set(sessionKey, entry),
      runWithWorkAdmission: (_what, run) => run(new AbortController().signal),
    },
  };
  const system = {
    enqueueSystemEvent: (...event) => told.push(event),
    requestHeartbeat: (...heartbeat) => told.push(heartbeat),
  };
  const config = { current: () => ({ session: {} }) };
  const api = fakeApi(t, { runtime: { agent, system, config } });
  const detached = [];
  const sdk = {
    detached: async () => ({ runDetachedWebhookWork: (run) => detached.push("run") && run() }),
    agents: async () => ({ resolveDefaultAgentId: () => "sole" }),
  };
  return { ask: hostMethods(api, sdk), rows, told, detached };
}

const TURN = { sessionKey: "agent:main:voice:1", agentId: "main", text: "Hello" };
const never = new AbortController().signal;

test("a turn streams what is said and done, and keeps its session", async (t) => {
  const runs = [];
  const { ask, rows, detached } = agentApi(t, async (run) => {
    runs.push(run);
    run.onPartialReply({ text: "One", delta: "One" });
    run.onPartialReply({ text: "One two" });
    run.onAgentEvent({ stream: "tool", data: { name: "weather", phase: "start" } });
    run.onAssistantMessageStart();
    run.onPartialReply({ text: "Sunny" });
    run.onPartialReply({ text: "It is sunny", replace: true });
    const payloads = [{ text: "It is sunny" }, { text: "hm", isReasoning: true }, { text: "" }];
    return { payloads, meta: { stopReason: "stop", durationMs: 5 } };
  });
  const heard = [];
  const result = await ask("agent.turn", { ...TURN, model: "openrouter/a/b" }, (item) => heard.push(item), never);
  assert.deepEqual(heard, [
    { delta: "One" },
    { delta: " two" },
    { tool: "weather", phase: "start" },
    { delta: "Sunny" },
    { replace: "It is sunny" },
  ]);
  const { sessionId } = rows.get(TURN.sessionKey);
  const told = { text: "It is sunny", isError: false, aborted: false, stopReason: "stop", durationMs: 5, sessionId };
  assert.deepEqual(result, told);
  assert.deepEqual([runs[0].provider, runs[0].model, runs[0].lane], ["openrouter", "a/b", undefined]);
  await ask("agent.turn", TURN, () => {}, never);
  assert.equal(runs[1].sessionId, sessionId);
  assert.equal(runs[1].provider, undefined);
  assert.deepEqual(detached, ["run", "run"]);
});

test("barge-in aborts the run", async (t) => {
  const { ask } = agentApi(t, ({ abortSignal }) => {
    return new Promise((resolve) => abortSignal.addEventListener("abort", () => resolve({ meta: { aborted: true } })));
  });
  const barge = new AbortController();
  const turn = ask("agent.turn", TURN, () => {}, barge.signal);
  setImmediate(() => barge.abort());
  const { aborted, text } = await turn;
  assert.deepEqual([aborted, text], [true, ""]);
});

test("a failed turn is told from a good one", async (t) => {
  const { ask } = agentApi(t, async () => ({ payloads: [{ text: "The model is gone.", isError: true }], meta: {} }));
  assert.equal((await ask("agent.turn", TURN, () => {}, never)).isError, true);
});

test("an agent is warmed up without asking a model or keeping a word", async (t) => {
  const runs = [];
  const { ask } = agentApi(t, async (run) => {
    runs.push(run);
    for (const phase of ["auth", "context_assembled"]) run.onExecutionPhase({ phase });
    run.abortSignal.throwIfAborted();
    assert.fail("the model would have been asked");
  });
  assert.equal((await ask("agent.prewarm", {}, () => {}, never)).phase, "context_assembled");
  assert.equal(runs[0].sessionKey, "agent:sole:voice:prewarm");
  assert.equal(runs[0].suppressNextUserMessagePersistence, true);
});

test("words for a session wake it, unless they are to wait", async (t) => {
  const { ask, told } = agentApi(t);
  const event = { sessionKey: "agent:ada:main", text: "The call ended." };
  await ask("session.event", event, () => {}, never);
  assert.deepEqual(told[0], ["The call ended.", { sessionKey: "agent:ada:main", agentId: "ada" }]);
  assert.equal(told[1][0].intent, "immediate");
  await ask("session.event", { ...event, wake: false }, () => {}, never);
  assert.equal(told.length, 3);
});

test("a method nobody knows, and one with too little, are refused", async (t) => {
  const { ask } = agentApi(t);
  await assert.rejects(ask("agent.dance", {}, () => {}, never), { code: "NOT_FOUND" });
  await assert.rejects(ask("agent.turn", { text: "Hi" }, () => {}, never), {
    code: "INVALID_REQUEST",
    message: "agent.turn needs sessionKey.",
  });
  await assert.rejects(ask("session.event", { sessionKey: "a" }, () => {}, never), { code: "INVALID_REQUEST" });
});

test("a command's words are those after its name, whatever the profile is called", () => {
  const words = (...argv) => wordsAfter(["node", "openclaw", ...argv]);
  assert.deepEqual(words("voicecall", "call", "--to", "+1"), ["call", "--to", "+1"]);
  assert.deepEqual(words("--profile", "voicecall", "voicecall", "status"), ["status"]);
  assert.deepEqual(words("--no-color", "voicecall", "say", "voicecall"), ["say", "voicecall"]);
});

/** A program that stands in for Python: it takes the probe, and then does as `lines` say. */
function standIn(t, lines, probe = "exit 0") {
  const command = join(folder(t), "python");
  writeFileSync(command, `#!/bin/sh\nif [ "$1" = -c ]; then ${probe}; fi\n${lines}\n`);
  chmodSync(command, 0o755);
  return { command, from: "the test", env: process.env, version: "" };
}

test("a command keeps its exit code, also when a signal ends it", async (t) => {
  assert.equal(await runCommand(standIn(t, 'test "$*" = "-m openclaw_voicecall call a" && exit 7'), ["call", "a"]), 7);
  assert.equal(await runCommand(standIn(t, "kill -KILL $$"), []), 137);
});

test("a command without Python, or without the package, ends with one line that says what to do", async (t) => {
  const written = [];
  t.mock.method(process.stderr, "write", (text) => written.push(text));
  assert.equal(await runCommand({ command: "/nowhere/python", from: "the test", env: {} }, []), 127);
  assert.equal(await runCommand(standIn(t, "exit 1", "exit 3"), []), 127);
  assert.match(written[0], /^voicecall: There is no Python at \/nowhere\/python .*\n$/);
  assert.match(written[1], /^voicecall: .*has no openclaw_voicecall; run: .*pip install openclaw-voicecall.*\n$/);
});
