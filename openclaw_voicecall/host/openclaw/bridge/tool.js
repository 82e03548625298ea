/** The tool `voice_call`: how OpenClaw's agent places and controls calls by itself. */

import { messageOf } from "./lines.js";

export const TOOL = "voice_call";

/** What each action needs and may have. Names and meaning are those OpenClaw's users know. */
const ACTIONS = {
  initiate_call: { needs: ["message"], takes: ["to", "mode", "dtmfSequence"] },
  continue_call: { needs: ["callId", "message"], takes: [] },
  speak_to_user: { needs: ["callId", "message"], takes: [] },
  send_dtmf: { needs: ["callId", "digits"], takes: [] },
  transfer_call: { needs: ["callId", "to"], takes: ["announce"] },
  end_call: { needs: ["callId"], takes: [] },
  get_status: { needs: ["callId"], takes: [] },
};

const TRANSCRIPT_MS = 180_000; // the default of transcriptTimeoutMs
const SPEAKING_MS = 60_000;

const DESCRIPTION =
  "Place and control phone calls. initiate_call rings a number and says the message (mode notify: say it and hang up; " +
  "mode conversation: stay and talk). continue_call says something and returns what the person answers. speak_to_user " +
  "says something without waiting. send_dtmf presses keys. transfer_call hands the person over to another number; " +
  "get_status tells later what became of it. end_call hangs up. get_status tells how a call stands. " +
  "Calls cost money and ring at a person's side: call only when your user wants it.";

const PARAMETERS = {
  type: "object",
  additionalProperties: false,
  required: ["action"],
  properties: {
    action: { type: "string", enum: Object.keys(ACTIONS), description: "What to do." },
    to: {
      type: "string",
      description:
        "initiate_call: the number in international form, such as +15550001234; the user's own unless given. " +
        "transfer_call: whom to hand the person over to.",
    },
    announce: {
      type: "string",
      description:
        "transfer_call: a sentence or two for whoever answers there, who hears it first and may decline; left out, they " +
        "are connected at once.",
    },
    message: {
      type: "string",
      description: "initiate_call, continue_call, speak_to_user: the words to say, as they are to be spoken.",
    },
    mode: {
      type: "string",
      enum: ["notify", "conversation"],
      description: "initiate_call: notify says the message and hangs up, conversation stays on the line.",
    },
    dtmfSequence: {
      type: "string",
      description: "initiate_call: keys to press when the call is answered, such as ww1234#; w waits half a second.",
    },
    callId: { type: "string", description: "All actions but initiate_call: the callId that initiate_call returned." },
    digits: { type: "string", description: "send_dtmf: the keys to press, of 0-9, *, # and w." },
  },
};

/**
 * @param {object} api The plugin API of OpenClaw.
 * @param {import("./service.js").Service} service
 */
export function registerTool(api, service) {
  api.registerTool((context) => voiceCall(context, service, api.pluginConfig), { name: TOOL });
}

/** @param {{sessionKey?: string, agentId?: string, messageChannel?: string}} context Whose turn it is. */
function voiceCall(context, service, settings = {}) {
  return {
    name: TOOL,
    label: "Voice Call",
    description: DESCRIPTION,
    parameters: PARAMETERS,
    catalogMode: "direct-only", // Behind the tool search the model would have to look for it first.
    executionMode: "sequential", // Two orders for one call make sense in their order only.
    getExecutionTimeoutMs: (given) =>
      given?.action === "continue_call" ? (settings.transcriptTimeoutMs ?? TRANSCRIPT_MS) + SPEAKING_MS : undefined,
    async execute(_toolCallId, given, signal, onUpdate) {
      const params = checked(given);
      const _ctx = { sessionKey: context.sessionKey, agentId: context.agentId, channel: context.messageChannel };
      const onProgress = ({ text }) => text && onUpdate?.(progress(text));
      const details = await service.request(`tool.${TOOL}`, { ...params, _ctx }, { signal, onProgress }).catch((error) => {
        // OpenClaw shows the model the message only, and the code tells whether to try again.
        throw new Error(`${TOOL}: ${messageOf(error)}${error?.code ? ` (${error.code})` : ""}`, { cause: error });
      });
      return { content: [{ type: "text", text: JSON.stringify(details) }], details };
    },
  };
}

/** The arguments without empty ones, or an error from which a model learns what to send. */
function checked(given) {
  const params = Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== "" && value != null));
  const { action, ...rest } = params;
  const known = ACTIONS[action];
  if (!known) throw new Error(`${TOOL}: action must be one of ${Object.keys(ACTIONS).join(", ")}.`);
  const missing = known.needs.filter((name) => !(name in rest));
  if (missing.length) throw new Error(`${TOOL}: ${action} needs ${missing.join(" and ")}.`);
  const unknown = Object.keys(rest).filter((name) => ![...known.needs, ...known.takes].includes(name));
  if (unknown.length) {
    const takes = [...known.needs, ...known.takes].join(", ");
    throw new Error(`${TOOL}: ${action} does not take ${unknown.join(", ")}; it takes ${takes}.`);
  }
  return params;
}

function progress(text) {
  return { content: [], details: {}, progress: { text, visibility: "channel", privacy: "public" } };
}
