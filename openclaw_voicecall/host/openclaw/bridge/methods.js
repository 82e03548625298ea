/** The gateway's methods voicecall.*: `openclaw gateway call voicecall.status`, and everything else that speaks to it. */

import { messageOf } from "./lines.js";

/** Who may call what: reading needs less than ringing somebody. */
const SCOPES = {
  initiate: "operator.write",
  start: "operator.write",
  continue: "operator.write",
  "continue.start": "operator.write",
  "continue.result": "operator.write",
  speak: "operator.write",
  dtmf: "operator.write",
  transfer: "operator.write",
  end: "operator.write",
  status: "operator.read",
};

/**
 * @param {object} api The plugin API of OpenClaw.
 * @param {import("./service.js").Service} service
 */
export function registerMethods(api, service) {
  for (const [name, scope] of Object.entries(SCOPES)) {
    const method = `voicecall.${name}`;
    const handler = async ({ params, respond, signal }) => {
      try {
        respond(true, await service.request(method, params ?? {}, { signal }));
      } catch (error) {
        respond(false, undefined, { code: error?.code ?? "UNAVAILABLE", message: messageOf(error) });
      }
    };
    api.registerGatewayMethod(method, handler, { scope });
  }
}
