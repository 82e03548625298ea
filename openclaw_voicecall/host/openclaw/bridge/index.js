/**
 * The plugin voice-call for OpenClaw. Everything real happens in Python; here its orders are passed on.
 *
 * OpenClaw calls `register` many times: once in mode `full` in the gateway, again in mode `discovery` to list tools, and
 * in its commands. A tool may be executed by any of these registrations. So there is one service per process, kept
 * where every copy of this code finds it, and `register` itself does nothing and says nothing: what it printed would
 * end up in the output of commands.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";

import { hostMethods } from "./agent.js";
import { registerCommands } from "./commands.js";
import { messageOf } from "./lines.js";
import { registerMethods } from "./methods.js";
import { findPython } from "./python.js";
import { Service } from "./service.js";
import { registerTool } from "./tool.js";

const KEY = Symbol.for("openclaw-voicecall.bridge");

export default {
  id: "voice-call",
  name: "Voice Call",
  description: "Phone calls, run by the Python package openclaw-voicecall",

  /** @param {object} api The plugin API of OpenClaw. */
  register(api) {
    const isOwner = api.registrationMode === "full";
    const service = serviceOfThisProcess(isOwner);
    if (isOwner || !service.host) service.host = hostFor(api);
    registerTool(api, service);
    registerMethods(api, service);
    registerCommands(api);
    registerService(api, service);
  },
};

/** @returns {Service} */
function serviceOfThisProcess(isOwner) {
  const code = fingerprint();
  const bridge = globalThis[KEY];
  if (bridge && (bridge.code === code || !isOwner)) return bridge.service;
  // None yet, or one of other code: the plugin was updated while the gateway went on.
  const service = new Service(bridge?.service);
  globalThis[KEY] = { code, service };
  return service;
}

/** @returns {import("./service.js").Host} */
function hostFor(api) {
  let said = false;
  return {
    log: api.logger,
    python: () => findPython(api),
    answer: hostMethods(api),
    onReady({ version }) {
      const expected = findPython(api).version;
      if (!said && expected && version !== expected) {
        said = true;
        api.logger.warn(
          `voice-call: this plugin was installed by openclaw-voicecall ${expected}, but Python runs ${version}; ` +
            "run: openclaw-voicecall openclaw install.",
        );
      }
    },
  };
}

function registerService(api, service) {
  let warming;
  api.on?.("gateway_start", (_event, context) => {
    service.closing = context?.abortSignal;
  });
  api.lifecycle?.onDispose?.(() => service.disposed());
  api.registerService({
    id: "voicecall-python",
    async start({ serviceHealth }) {
      await service.start(serviceHealth);
      warming = new AbortController();
      if (api.pluginConfig?.prewarm !== false) prewarm(api, service, warming.signal);
    },
    async stop() {
      warming?.abort();
      await service.stop();
    },
  });
}

/** The first turn after a start would take seconds; nobody waits for this one, and it may fail. */
function prewarm(api, service, signal) {
  Promise.resolve(service.host.answer("agent.prewarm", {}, () => {}, signal)).then(
    ({ durationMs }) => api.logger.debug?.(`voice-call: the agent is warm after ${durationMs} ms`),
    (error) => signal.aborted || api.logger.warn(`voice-call: the agent could not be prewarmed: ${messageOf(error)}`),
  );
}

let ours;

/** Tells two versions of this code apart. @returns {string} */
function fingerprint() {
  if (!ours) {
    const hash = createHash("sha256");
    const here = new URL(".", import.meta.url);
    for (const name of readdirSync(here).filter((file) => file.endsWith(".js")).sort())
      hash.update(readFileSync(new URL(name, here)));
    ours = hash.digest("hex");
  }
  return ours;
}
