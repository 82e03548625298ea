import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { join } from "node:path";
import { test } from "node:test";

import { Service } from "../../openclaw_voicecall/host/openclaw/bridge/service.js";
import { folder, healthNotes, isAlive, linesIn, QUICK, serviceOf, until } from "./bridge_rig.mjs";

const status = (service) => service.request("voicecall.status", {});

test("a service is started, asked, and stopped without leaving anything", async (t) => {
  const { service, health } = serviceOf(t);
  await service.start(health);
  const { pid } = await status(service);
  assert.deepEqual(health.said, [""]);
  await service.stop();
  assert.equal(isAlive(pid), false);
});

test("a child that is killed is back at once, and health tells the truth in between", async (t) => {
  const { service, health, log } = serviceOf(t);
  await service.start(health);
  const { pid } = await status(service);
  const open = service.request("voicecall.continue", { callId: "wait" });
  process.kill(pid, "SIGKILL");
  await assert.rejects(open, { code: "UNAVAILABLE", message: /ended by SIGKILL/ });
  const began = Date.now();
  const again = await status(service);
  assert.ok(Date.now() - began < 2_000);
  assert.notEqual(again.pid, pid);
  assert.match(health.said.at(-2), /ended by SIGKILL; it is started again\.$/);
  assert.equal(health.said.at(-1), "");
  assert.match(log.join("\n"), /error voice-call: The Python service was ended by SIGKILL/);
});

test("a program that Python started and left behind holds nothing up", async (t) => {
  const { service } = serviceOf(t, "tunnel");
  await service.start();
  const { pid } = await status(service);
  process.kill(pid, "SIGKILL");
  await until(async () => (await status(service).catch(() => ({ pid }))).pid !== pid);
});

test("a child that dies again and again is started ever more seldom, and for ever", async (t) => {
  const { service, health } = serviceOf(t, "failed");
  await service.start(health);
  await until(() => health.said.filter((said) => said.includes("again in 0.04 s")).length > 2);
  assert.match(health.said.at(-1), /^Port 3334 is taken by another program; it is started again in/);
  assert.ok(!health.said.includes(""));
});

test("requests to a service that cannot start say why", async (t) => {
  const { service, health } = serviceOf(t, "failed", { limits: { backoff: [30_000] } });
  await service.start(health);
  await assert.rejects(status(service), { code: "UNAVAILABLE", message: /Port 3334 is taken/ });
});

test("a Python that does not exist is named", async (t) => {
  const python = () => ({ command: "/nowhere/python", from: "the setting python", env: {}, version: "" });
  const { service, health } = serviceOf(t, "", { python });
  await service.start(health);
  await until(() => health.said.length);
  assert.match(health.said[0], /no Python at \/nowhere\/python \(from the setting python\)/);
});

test("a Python without the package gets the command that installs it", async (t) => {
  const { service, health } = serviceOf(t, "missing");
  await service.start(health);
  await until(() => health.said.length);
  assert.match(health.said[0], /has no openclaw_voicecall; run: .* -m pip install openclaw-voicecall/);
});

test("a child that is never ready is killed, and OpenClaw need not wait for it", async (t) => {
  const { service, health, log } = serviceOf(t, "never", { limits: { start: 30, ready: 100 } });
  const began = Date.now();
  await service.start(health);
  assert.ok(Date.now() - began < 2_000);
  assert.match(health.said[0], /still starting/);
  await until(() => health.said.some((said) => said.includes("SIGKILL")));
  assert.match(log.join("\n"), /not ready after 0.1 s/);
});

test("garbage on the line and long lines do no harm", async (t) => {
  for (const scene of ["garbage", "huge"]) {
    const { service, log, health } = serviceOf(t, scene);
    await service.start(health);
    await status(service);
    await until(() => log.some((line) => line.startsWith("warn")));
  }
});

test("Python's log keeps its levels", async (t) => {
  const { service, log } = serviceOf(t, "garbage");
  await service.start();
  await until(() => log.some((line) => line.startsWith("warn 2026") && line.endsWith("careful")));
});

test("what Python says of its health is passed on", async (t) => {
  const { service, health } = serviceOf(t, "unwell");
  await service.start(health);
  await until(() => health.said.includes("The tunnel is closed."));
});

test("a child that ignores the signal has its input ended, and is killed in the end", async (t) => {
  const { service } = serviceOf(t, "stubborn");
  await service.start();
  const { pid } = await status(service);
  const began = Date.now();
  await service.stop();
  assert.equal(isAlive(pid), false);
  assert.ok(Date.now() - began >= QUICK.drain + QUICK.kill - 50);
});

test("calls that go on while the service stops still have their agent", async (t) => {
  const asked = [];
  const answer = (method, { text }) => asked.push([method, text]);
  const { service, log } = serviceOf(t, "drain", { answer, limits: { drain: 10_000 } });
  await service.start();
  await service.stop();
  assert.deepEqual(asked, [["agent.turn", "Goodbye"]]);
  assert.match(log.at(-1), /stopped \(The Python service ended with exit code 0\.\)/);
});

test("a reload keeps the child and its requests", async (t) => {
  const { service, health } = serviceOf(t);
  service.closing = new AbortController().signal;
  await service.start(health);
  const { pid } = await status(service);
  const giving = new AbortController();
  const open = service.request("voicecall.continue", { callId: "wait" }, { signal: giving.signal });
  await service.stop();
  service.disposed();
  const after = healthNotes();
  await service.start(after);
  assert.equal((await status(service)).pid, pid);
  assert.deepEqual(after.said, [""]);
  giving.abort();
  await assert.rejects(open, { code: "CANCELLED" });
});

test("a reload keeps what Python said of its health", async (t) => {
  const { service, health } = serviceOf(t, "unwell");
  service.closing = new AbortController().signal;
  await service.start(health);
  await until(() => health.said.includes("The tunnel is closed."));
  await service.stop();
  const after = healthNotes();
  await service.start(after);
  assert.deepEqual(after.said, ["The tunnel is closed."]);
});

test("a reload with other settings replaces the child, one after the other", async (t) => {
  const { service, health } = serviceOf(t);
  service.closing = new AbortController().signal;
  await service.start(health);
  const { pid } = await status(service);
  await service.stop();
  const python = service.host.python();
  service.host.python = () => ({ ...python, env: { ...python.env, OPENCLAW_VOICECALL_CONFIG: '{"x":1}' } });
  await service.start(healthNotes());
  await until(() => !isAlive(pid) && service.state.ready);
  assert.equal((await status(service)).env.OPENCLAW_VOICECALL_CONFIG, '{"x":1}');
});

test("a child that no plugin takes over is stopped", async (t) => {
  const { service } = serviceOf(t);
  service.closing = new AbortController().signal;
  await service.start();
  const { pid } = await status(service);
  await service.stop();
  assert.equal(isAlive(pid), true);
  service.disposed();
  await until(() => !isAlive(pid));
});

test("a gateway that closes stops the child before it goes on", async (t) => {
  const { service } = serviceOf(t);
  const closing = new AbortController();
  service.closing = closing.signal;
  await service.start();
  const { pid } = await status(service);
  closing.abort();
  await service.stop();
  assert.equal(isAlive(pid), false);
});

test("a gateway that closes stops a child that waits for its plugin", async (t) => {
  const { service } = serviceOf(t, "", { limits: { parked: 60_000 } });
  const closing = new AbortController();
  service.closing = closing.signal;
  await service.start();
  const { pid } = await status(service);
  await service.stop();
  closing.abort();
  await until(() => !isAlive(pid));
});

test("newer code starts its child when that of the older code is gone", async (t) => {
  const { service: older } = serviceOf(t);
  await older.start();
  const { pid } = await status(older);
  const newer = new Service(older, QUICK);
  newer.host = older.host;
  t.after(() => newer.retire());
  await newer.start(healthNotes());
  const again = await until(() => status(newer).catch(() => undefined));
  assert.notEqual(again.pid, pid);
  assert.equal(isAlive(pid), false);
});

test("without a gateway the first request starts the service", async (t) => {
  const { service } = serviceOf(t);
  const { pid } = await status(service);
  assert.ok(isAlive(pid));
});

test("Python's requests are answered by the plugin that is loaded now", async (t) => {
  const log = join(folder(t), "lines");
  const { service } = serviceOf(t, "", { env: { FAKE_CHILD_LOG: log }, answer: () => "the old one" });
  await service.start();
  service.host = { ...service.host, answer: (method, params) => `the new one: ${method} ${params.text}` };
  const { answer } = await service.request("voicecall.start", { host: "session.event", params: { text: "hi" } });
  assert.deepEqual(answer, { id: "p1", result: "the new one: session.event hi" });
  assert.ok(linesIn(log).some(({ result }) => result?.startsWith("the new one")));
});

test("after a reload Python's requests are worked for in the new plugin's async context", async (t) => {
  const life = new AsyncLocalStorage();
  const { service } = serviceOf(t, "", { answer: () => life.getStore() });
  service.closing = new AbortController().signal;
  const order = { host: "agent.turn", params: {} };
  await life.run("old", () => service.start());
  assert.equal((await service.request("voicecall.start", order)).answer.result, "old");
  await life.run("old", () => service.stop());
  await life.run("new", () => service.start());
  assert.equal((await service.request("voicecall.start", order)).answer.result, "new");
});

test("Python can give a request up", async (t) => {
  const answer = (_method, _params, emit, signal) =>
    new Promise((_, reject) => {
      emit({ delta: "One" });
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  const { service } = serviceOf(t, "", { answer });
  await service.start();
  const order = { host: "agent.turn", params: {}, cancelAfter: 0.05 };
  const result = await service.request("voicecall.start", order);
  assert.deepEqual(result.progress, [{ delta: "One" }]);
  assert.equal(result.answer.error.code, "CANCELLED");
});
