/** Which Python runs openclaw_voicecall, with which environment, and what to say when it cannot. */

import { readFileSync } from "node:fs";
import { delimiter, join } from "node:path";

const PORT = 18789; // OpenClaw's own default

/**
 * @typedef {object} Python
 * @property {string} command
 * @property {string} from Where the choice comes from, for messages.
 * @property {NodeJS.ProcessEnv} env The environment of everything we start.
 * @property {string} version The version that the installer wrote; "" when the bridge was not installed by it.
 */

/**
 * Find the interpreter: the setting `python`, then the file `interpreter.json` that our installer writes beside
 * index.js, then OPENCLAW_VOICECALL_PYTHON, then python3.
 *
 * @param {object} api The plugin API of OpenClaw; `rootDir` is the folder of the plugin, which `import.meta.url` is not.
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Python}
 */
export function findPython(api, env = process.env) {
  const { python, prewarm: _ours, ...settings } = api.pluginConfig ?? {}; // Python knows neither.
  const installed = readInterpreter(api.rootDir);
  const [command, from] = [
    [python, "the setting python"],
    [installed.python, "interpreter.json in the plugin's folder"],
    [env.OPENCLAW_VOICECALL_PYTHON, "OPENCLAW_VOICECALL_PYTHON"],
    ["python3", "PATH"],
  ].find(([value]) => value);
  const path = [installed.package, env.PYTHONPATH].filter(Boolean).join(delimiter);
  return {
    command,
    from,
    version: installed.version ?? "",
    env: {
      ...env,
      ...(path ? { PYTHONPATH: path } : {}),
      ...stateDir(api),
      PYTHONUNBUFFERED: "1",
      OPENCLAW_VOICECALL_CONFIG: JSON.stringify({ agentId: soleAgent(currentConfig(api)), ...settings }),
      OPENCLAW_VOICECALL_GATEWAY: JSON.stringify(gateway(api, env)),
    },
  };
}

/** One line for a person whose Python is not where it should be. @param {Python} python @returns {string} */
export function noPython({ command, from }) {
  return (
    `There is no Python at ${command} (from ${from}); install Python 3.11 or later, or run: ` +
    "openclaw-voicecall openclaw install."
  );
}

/** One line for a person whose Python has no openclaw_voicecall. @param {Python} python @returns {string} */
export function noPackage({ command }) {
  return (
    `${command} has no openclaw_voicecall; run: ${command} -m pip install openclaw-voicecall, ` +
    "then: openclaw-voicecall openclaw install."
  );
}

/** @param {string|undefined} folder @returns {{python?: string, package?: string, version?: string}} */
function readInterpreter(folder) {
  try {
    return JSON.parse(readFileSync(join(folder ?? "", "interpreter.json"), "utf8"));
  } catch {
    return {}; // Linked from a checkout, or damaged: the other places are asked.
  }
}

/** Python must use the state directory of this OpenClaw, also when a profile or a flag chose it. */
function stateDir(api) {
  const folder = api.runtime?.state?.resolveStateDir?.();
  return folder ? { OPENCLAW_STATE_DIR: folder } : {};
}

/** The agent that owns calls where nobody says: the only one, or the one that is marked. Not every OpenClaw has a `main`. */
function soleAgent({ agents }) {
  const roster = agents?.entries ?? agents?.list ?? [];
  const all = Array.isArray(roster) ? roster : Object.entries(roster).map(([id, agent]) => ({ id, ...agent }));
  const marked = all.filter((agent) => agent?.default === true);
  const [only, ...others] = marked.length === 1 ? marked : all;
  return only?.id && !others.length ? String(only.id).trim().toLowerCase() : undefined;
}

function gateway(api, env) {
  const { port, auth } = currentConfig(api).gateway ?? {};
  return { port: Number(env.OPENCLAW_GATEWAY_PORT) || port || PORT, auth: auth ?? {} };
}

/** What OpenClaw is configured to, with secrets resolved where it has done so. @param {object} api @returns {object} */
export function currentConfig(api) {
  try {
    return api.runtime.config.current() ?? api.config ?? {};
  } catch {
    return api.config ?? {}; // While commands are only being listed there is no running configuration.
  }
}
