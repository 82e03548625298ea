import assert from "node:assert/strict";
import { test } from "node:test";

import { BridgeError, LinePeer, MAX_LINE } from "../../openclaw_voicecall/host/openclaw/bridge/lines.js";
import { until } from "./bridge_rig.mjs";

function peerOf(answer = () => ({})) {
  const written = [];
  const warnings = [];
  const events = [];
  const peer = new LinePeer({
    write: (line) => written.push(JSON.parse(line)),
    answer,
    onEvent: (event) => events.push(event),
    warn: (message) => warnings.push(message),
  });
  const hear = (message) => peer.receive(Buffer.from(`${JSON.stringify(message)}\n`));
  return { peer, written, warnings, events, hear };
}

test("an answer reaches the one who asked, and nobody else", async () => {
  const { peer, written, hear } = peerOf();
  const first = peer.request("a", {});
  const second = peer.request("b", { x: 1 });
  assert.deepEqual(written[1], { id: "j2", method: "b", params: { x: 1 } });
  hear({ id: "j2", result: "two" });
  hear({ id: "j1", result: "one" });
  assert.deepEqual(await Promise.all([first, second]), ["one", "two"]);
});

test("lines may be cut anywhere, also within a letter", async () => {
  const { peer } = peerOf();
  const answer = peer.request("a", {});
  for (const byte of Buffer.from('{"id": "j1", "result": "Grüße 📞"}\n')) peer.receive(Buffer.of(byte));
  assert.equal(await answer, "Grüße 📞");
});

test("an error keeps its code and its sentence", async () => {
  const { peer, hear } = peerOf();
  const answer = peer.request("a", {});
  hear({ id: "j1", error: { code: "NOT_FOUND", message: "There is no such call." } });
  await assert.rejects(answer, { code: "NOT_FOUND", message: "There is no such call." });
});

test("progress comes before the answer and in order", async () => {
  const { peer, hear } = peerOf();
  const progress = [];
  const answer = peer.request("a", {}, { onProgress: (item) => progress.push(item) });
  hear({ id: "j1", stream: { n: 1 } });
  hear({ id: "j1", stream: { n: 2 } });
  hear({ id: "j1", result: null });
  await answer;
  assert.deepEqual(progress, [{ n: 1 }, { n: 2 }]);
});

test("giving up tells the other side, and its late answer is dropped", async () => {
  const { peer, written, warnings, hear } = peerOf();
  const giving = new AbortController();
  const answer = peer.request("voicecall.continue", {}, { signal: giving.signal });
  giving.abort();
  await assert.rejects(answer, { code: "CANCELLED" });
  assert.deepEqual(written.at(-1), { event: "cancel", id: "j1" });
  hear({ id: "j1", result: "late" });
  assert.deepEqual(warnings, []);
});

test("what was answered is not given up any more", async () => {
  const { peer, written, hear } = peerOf();
  const giving = new AbortController();
  const answer = peer.request("a", {}, { signal: giving.signal });
  hear({ id: "j1", result: 1 });
  await answer;
  giving.abort();
  assert.equal(written.length, 1);
});

test("nothing is sent for who gave up before asking", async () => {
  const { peer, written } = peerOf();
  await assert.rejects(peer.request("a", {}, { signal: AbortSignal.abort() }), { code: "CANCELLED" });
  assert.deepEqual(written, []);
});

test("the end of the line fails what is open and what comes after", async () => {
  const aborted = [];
  const { peer, hear } = peerOf(
    (_method, _params, _emit, signal) =>
      new Promise(() => signal.addEventListener("abort", () => aborted.push(signal.reason.code))),
  );
  const open = peer.request("a", {});
  hear({ id: "p1", method: "agent.turn", params: {} });
  peer.close(new BridgeError("UNAVAILABLE", "gone"));
  await assert.rejects(open, { code: "UNAVAILABLE" });
  await assert.rejects(peer.request("b", {}), { code: "UNAVAILABLE" });
  assert.deepEqual(aborted, ["UNAVAILABLE"]);
});

test("requests of the other side are answered with progress, result or error", async () => {
  const { written, hear } = peerOf(async (method, params, emit) => {
    if (method === "bad") throw new BridgeError("INVALID_REQUEST", "It needs text.");
    emit({ delta: "Hel" });
    return { text: params.text };
  });
  hear({ id: "p1", method: "good", params: { text: "Hello" } });
  hear({ id: "p2", method: "bad" });
  await until(() => written.length === 3);
  assert.deepEqual(written.filter(({ id }) => id === "p1"), [
    { id: "p1", stream: { delta: "Hel" } },
    { id: "p1", result: { text: "Hello" } },
  ]);
  assert.deepEqual(written.find(({ id }) => id === "p2").error, { code: "INVALID_REQUEST", message: "It needs text." });
});

test("a request that is cancelled is aborted, and says no more", async () => {
  let emitLate;
  const { written, hear } = peerOf(
    (_method, _params, emit, signal) =>
      new Promise((_, reject) => {
        emitLate = emit;
        signal.addEventListener("abort", () => reject(signal.reason));
      }),
  );
  hear({ id: "p1", method: "agent.turn", params: {} });
  hear({ event: "cancel", id: "p1" });
  await until(() => written.length === 1);
  emitLate({ delta: "late" });
  assert.equal(written[0].error.code, "CANCELLED");
  assert.equal(written.length, 1);
});

test("what is no JSON object is warned of and skipped", async () => {
  const { peer, warnings, hear } = peerOf();
  const answer = peer.request("a", {});
  peer.receive(Buffer.from("Traceback\n[1]\n\nnull\n"));
  hear({ id: "j1", result: 1 });
  assert.equal(await answer, 1);
  assert.equal(warnings.length, 3);
});

test("events other than cancel are handed on", () => {
  const { events, hear } = peerOf();
  hear({ event: "health", ok: true });
  assert.deepEqual(events, [{ event: "health", ok: true }]);
});

test("a line that is too long fails its request, and the next one is read", async () => {
  const { peer, warnings, hear } = peerOf();
  const long = peer.request("a", {});
  const next = peer.request("b", {});
  hear({ id: "j1", result: "x".repeat(MAX_LINE) });
  hear({ id: "j2", result: "y" });
  await assert.rejects(long, { code: "FAILED" });
  assert.equal(await next, "y");
  assert.match(warnings[0], /too long/);
});

test("who asks us with a line that is too long is told so", async () => {
  const { written, hear } = peerOf();
  hear({ id: "p7", method: "session.event", params: { text: "x".repeat(MAX_LINE) } });
  assert.deepEqual([written[0].id, written[0].error.code], ["p7", "FAILED"]);
});

test("we send no line that is too long either", async () => {
  const { peer, written, hear } = peerOf(() => "x".repeat(MAX_LINE));
  await assert.rejects(peer.request("a", { x: "x".repeat(MAX_LINE) }), { code: "INVALID_REQUEST" });
  hear({ id: "p1", method: "config.get" });
  await until(() => written.length === 1);
  assert.equal(written[0].error.code, "FAILED");
});
