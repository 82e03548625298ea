/** The command `openclaw voicecall ...`: its words go to Python as they are, and so does the terminal. */

import { spawn } from "node:child_process";
import { constants } from "node:os";

import { findPython, noPackage, noPython } from "./python.js";

const COMMAND = "voicecall";
const ROOT_OPTIONS_WITH_VALUE = new Set(["--profile", "--log-level", "--container"]);
const PASSED_ON = ["SIGINT", "SIGTERM", "SIGHUP"];

// Found out before the words are handed over: afterwards the terminal is Python's, and it would show a stack.
const PROBE = "import importlib.util as u, sys; sys.exit(0 if u.find_spec('openclaw_voicecall') else 3)";
const NO_PACKAGE = 3;
const NOT_FOUND = 127; // as a shell has it

export const DESCRIPTOR = {
  name: COMMAND,
  description: "Place and manage voice calls",
  hasSubcommands: true,
};

/** @param {object} api The plugin API of OpenClaw. */
export function registerCommands(api) {
  const register = ({ program }) => {
    program
      .command(COMMAND)
      .description(DESCRIPTOR.description)
      .allowUnknownOption(true)
      .allowExcessArguments(true)
      .helpOption(false)
      .argument("[args...]")
      .action(async () => {
        process.exitCode = await runCommand(findPython(api), wordsAfter(process.argv));
      });
  };
  api.registerCli(register, { descriptors: [DESCRIPTOR] });
}

/**
 * Run a command in the terminal this program runs in.
 *
 * @param {import("./python.js").Python} python
 * @param {string[]} words Such as ["call", "--to", "+15550001234"].
 * @returns {Promise<number>} Its exit code.
 */
export async function runCommand(python, words) {
  const problem = await probe(python);
  if (problem) {
    process.stderr.write(`${COMMAND}: ${problem}\n`);
    return NOT_FOUND;
  }
  const child = spawn(python.command, ["-m", "openclaw_voicecall", ...words], { env: python.env, stdio: "inherit" });
  const handlers = PASSED_ON.map((signal) => [signal, () => shouldPass(signal) && child.kill(signal)]);
  for (const [signal, handler] of handlers) process.on(signal, handler);
  try {
    return await exitCode(child);
  } finally {
    for (const [signal, handler] of handlers) process.removeListener(signal, handler);
  }
}

/** What was typed after `voicecall`, which may also be the name of a profile before it. @param {string[]} argv */
export function wordsAfter(argv) {
  const at = argv.findIndex((word, index) => word === COMMAND && !ROOT_OPTIONS_WITH_VALUE.has(argv[index - 1]));
  return argv.slice(at + 1);
}

/** A sentence about why Python cannot run the command; nothing when it can. */
async function probe(python) {
  const child = spawn(python.command, ["-c", PROBE], { env: python.env, stdio: "ignore" });
  const code = await exitCode(child);
  if (code === NO_PACKAGE) return noPackage(python);
  return code === 0 ? undefined : noPython(python);
}

/** A terminal gives Ctrl-C to both programs by itself; twice would tell Python to drop its calls. */
function shouldPass(signal) {
  return signal !== "SIGINT" || !process.stdin.isTTY;
}

function exitCode(child) {
  return new Promise((resolve) => {
    child.once("error", () => resolve(NOT_FOUND));
    child.once("exit", (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}
