/** What Python may ask of OpenClaw: turns of the user's agent, words for a session, and where things are. */

import { randomUUID } from "node:crypto";

import { BridgeError } from "./lines.js";
import { currentConfig } from "./python.js";

/**
 * Parts of OpenClaw's plugin SDK. They are loaded when first needed: OpenClaw resolves the names, and only while a plugin
 * runs.
 *
 * @typedef {object} Sdk
 * @property {() => Promise<{runDetachedWebhookWork: (run: () => Promise<unknown>) => Promise<unknown>}>} detached
 * @property {() => Promise<{resolveDefaultAgentId: (config: object) => string}>} agents
 */

/** @type {Sdk} */
export const OPENCLAW_SDK = {
  detached: () => import("openclaw/plugin-sdk/webhook-request-guards"),
  agents: () => import("openclaw/plugin-sdk/agent-scope-runtime"),
};

/**
 * @param {object} api The plugin API of OpenClaw.
 * @param {Sdk} [sdk]
 * @returns {(method: string, params: object, emit: (progress: object) => void, signal: AbortSignal) => Promise<unknown>}
 */
export function hostMethods(api, sdk = OPENCLAW_SDK) {
  // What Python asks comes in the async context of an earlier request, which may be over: OpenClaw would then refuse it
  // as if the gateway were shutting down. This helper gives the work an admission of its own.
  const detached = async (run) => (await sdk.detached()).runDetachedWebhookWork(run);
  const methods = {
    "agent.turn": (params, emit, signal) => detached(() => turn(api, sdk, params, emit, signal)),
    "agent.prewarm": (params, _emit, signal) => detached(() => prewarm(api, sdk, params, signal)),
    "session.event": (params) => tellSession(api, sdk, params),
    "session.nextTurn": (params) => detached(() => tellNextTurn(api, params)),
    "config.get": () => currentConfig(api),
    "state.dir": () => api.runtime.state.resolveStateDir(),
  };
  return async (method, params, emit, signal) => {
    const run = methods[method];
    if (!run) throw new BridgeError("NOT_FOUND", `OpenClaw's side has no method ${method}.`);
    return run(params, emit, signal);
  };
}

/**
 * One turn of an agent in a session, streamed.
 *
 * @typedef {object} Turn
 * @property {string} sessionKey Such as agent:main:voice:15550001234.
 * @property {string} [agentId] The sole agent unless told.
 * @property {string} text What the caller said.
 * @property {string} [extraSystemPrompt]
 * @property {string} [model] Such as openai/gpt-5-mini; the agent's own unless told.
 * @property {string[]} [toolsAllow]
 * @property {boolean} [disableTools]
 * @property {"full"|"minimal"|"none"} [promptMode]
 * @property {"full"|"lightweight"} [bootstrapContextMode]
 * @property {string} [thinking]
 * @property {number} [timeoutMs]
 * @property {string} [runId]
 *
 * @typedef {object} TurnResult
 * @property {string} text Everything that was said.
 * @property {boolean} isError
 * @property {boolean} aborted
 * @property {string} [stopReason]
 * @property {number} [durationMs]
 * @property {string} sessionId
 *
 * @param {object} api
 * @param {Sdk} sdk
 * @param {Turn} params
 * @param {(progress: {delta?: string, replace?: string, tool?: string, phase?: string}) => void} emit
 * @param {AbortSignal} signal Ends the run, as when the caller barges in.
 * @returns {Promise<TurnResult>}
 */
async function turn(api, sdk, params, emit, signal) {
  need(params, "agent.turn", "sessionKey", "text");
  const { agent } = api.runtime;
  const run = await prepare(api, sdk, params);
  const target = await sessionOf(api, run);
  const { sessionId, sessionKey, storePath } = target;
  const result = await agent.session.runWithWorkAdmission({ storePath, sessionKey, signal }, (admitted) =>
    agent.runEmbeddedAgent({
      ...run,
      sessionId,
      sessionTarget: target,
      prompt: params.text,
      terminalReplyExpectation: "required",
      abortSignal: AbortSignal.any([admitted, signal]),
      ...streaming(emit),
    }),
  );
  const said = (result.payloads ?? []).filter((payload) => !payload.isReasoning && !payload.isCommentary);
  return {
    text: said.map((payload) => payload.text).filter(Boolean).join("\n"),
    isError: said.some((payload) => payload.isError),
    aborted: Boolean(result.meta?.aborted || signal.aborted),
    stopReason: result.meta?.stopReason,
    durationMs: result.meta?.durationMs,
    sessionId,
  };
}

/**
 * Build all that a first turn would have to build, and stop before the model is called: it costs nothing, and no word of
 * it is kept. The session must be a real one, as the first to be opened makes OpenClaw tidy up all of them; unless one
 * is told it is one of its own. That one stays: to delete it would cost the next turn what was won.
 *
 * @param {object} api
 * @param {Sdk} sdk
 * @param {{sessionKey?: string, agentId?: string, model?: string}} params
 * @param {AbortSignal} signal
 * @returns {Promise<{phase: string, durationMs: number}>} How far it came; `context_assembled` is all the way.
 */
async function prewarm(api, sdk, params, signal) {
  const agentId = await agentOf(api, sdk, params.agentId);
  const sessionKey = params.sessionKey ?? `agent:${agentId}:voice:prewarm`;
  const run = await prepare(api, sdk, { ...params, agentId, sessionKey });
  const target = await sessionOf(api, run);
  const enough = new AbortController();
  const began = Date.now();
  let reached = "none";
  const onExecutionPhase = ({ phase }) => {
    reached = phase;
    if (phase === "context_assembled") enough.abort(new Error("voice-call: the agent is warm, no model was asked"));
  };
  try {
    await api.runtime.agent.runEmbeddedAgent({
      ...run,
      sessionId: target.sessionId,
      sessionTarget: target,
      prompt: "Hello.",
      suppressNextUserMessagePersistence: true,
      terminalReplyExpectation: "optional",
      abortSignal: AbortSignal.any([signal, enough.signal]),
      onExecutionPhase,
    });
  } catch (error) {
    if (!enough.signal.aborted) throw error;
  }
  return { phase: reached, durationMs: Date.now() - began };
}

/** What a turn and its rehearsal have in common. */
async function prepare(api, sdk, params) {
  const { agent } = api.runtime;
  const config = currentConfig(api);
  const agentId = await agentOf(api, sdk, params.agentId);
  const { sessionKey } = params;
  const workspaceDir = agent.resolveAgentWorkspaceDir(config, agentId);
  await agent.ensureAgentWorkspace({ dir: workspaceDir });
  const [provider, ...model] = (params.model ?? "").split("/");
  // No `lane`: OpenClaw runs the turns of a named lane one after the other, also those of different calls.
  return {
    agentId,
    agentDir: agent.resolveAgentDir(config, agentId),
    workspaceDir,
    config,
    runId: params.runId ?? randomUUID(),
    sessionKey,
    sandboxSessionKey: sessionKey,
    trigger: "user",
    messageProvider: "voice",
    ...(model.length ? { provider, model: model.join("/") } : {}),
    extraSystemPrompt: params.extraSystemPrompt,
    toolsAllow: params.toolsAllow,
    disableTools: params.disableTools,
    promptMode: params.promptMode,
    bootstrapContextMode: params.bootstrapContextMode,
    thinkLevel: params.thinking ?? "off",
    verboseLevel: "off",
    reasoningLevel: "off",
    toolResultFormat: "plain",
    timeoutMs: params.timeoutMs ?? 60_000,
  };
}

/**
 * Where the session keeps what is said; its first turn makes it.
 *
 * @returns {Promise<{agentId: string, sessionKey: string, storePath: string, sessionId: string}>}
 */
async function sessionOf(api, { agentId, sessionKey, config }) {
  const { session } = api.runtime.agent;
  const where = { agentId, sessionKey, storePath: session.resolveStorePath(config.session?.store, { agentId }) };
  if (!session.getSessionEntry(where)?.sessionId) {
    const entry = { sessionId: randomUUID(), updatedAt: Date.now() };
    await session.upsertSessionEntry({ ...where, entry });
  }
  return { ...where, sessionId: session.getSessionEntry(where).sessionId };
}

/** Callbacks of a run that tell what is said and done while it goes on. */
function streaming(emit) {
  let sent = 0; // characters of the message that is being written
  return {
    onAssistantMessageStart: () => {
      sent = 0;
    },
    onPartialReply: ({ text, delta, replace }) => {
      if (replace) {
        sent = text?.length ?? 0;
        emit({ replace: text ?? "" });
        return;
      }
      const fresh = delta ?? (text ?? "").slice(sent);
      sent += fresh.length;
      if (fresh) emit({ delta: fresh });
    },
    onAgentEvent: ({ stream, data }) => {
      if (stream === "tool" && data?.name) emit({ tool: data.name, phase: data.phase });
    },
  };
}

/** Put words into a session, and have its agent look at them now unless told not to. */
async function tellSession(api, sdk, params) {
  need(params, "session.event", "sessionKey", "text");
  const { sessionKey, text, wake = true } = params;
  const agentId = await agentOf(api, sdk, params.agentId ?? agentIn(sessionKey));
  const { system } = api.runtime;
  system.enqueueSystemEvent(text, { sessionKey, agentId });
  if (wake) {
    const why = { source: "other", intent: "immediate", reason: "voicecall" };
    system.requestHeartbeat({ ...why, sessionKey, agentId });
  }
  return { ok: true };
}

/** Put words before the next message of a session; they start no turn, and survive a restart. */
async function tellNextTurn(api, params) {
  need(params, "session.nextTurn", "sessionKey", "text");
  const { sessionKey, text, idempotencyKey = randomUUID() } = params;
  return api.session.workflow.enqueueNextTurnInjection({ sessionKey, text, idempotencyKey });
}

/** The agent that is meant: the one named, the one that owns calls, or the only one there is. */
async function agentOf(api, sdk, named) {
  return named ?? api.pluginConfig?.agentId ?? (await sdk.agents()).resolveDefaultAgentId(currentConfig(api));
}

function agentIn(sessionKey) {
  return /^agent:([^:]+):/.exec(sessionKey)?.[1];
}

function need(params, method, ...names) {
  const missing = names.filter((name) => typeof params[name] !== "string" || !params[name]);
  if (missing.length) throw new BridgeError("INVALID_REQUEST", `${method} needs ${missing.join(" and ")}.`);
}
