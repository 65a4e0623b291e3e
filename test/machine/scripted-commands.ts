import type { CommandResult, Commands } from '../../src/machine/commands.js';

/** Tools that print what the script says, by `path arguments`; every other tool is missing. `calls` is what was run. */
export class ScriptedCommands implements Commands {
  readonly calls: string[] = [];
  readonly #script: Record<string, string | Partial<CommandResult>>;

  constructor(script: Record<string, string | Partial<CommandResult>>) {
    this.#script = script;
  }

  run(path: string, args: readonly string[]): Promise<CommandResult> {
    const call = [path, ...args].join(' ');
    this.calls.push(call);
    const answer = this.#script[call] ?? this.#script[path] ?? { code: 'missing' };
    const printed = typeof answer === 'string' ? { stdout: answer } : answer;
    return Promise.resolve({ code: 0, stdout: '', stderr: '', ...printed });
  }
}
