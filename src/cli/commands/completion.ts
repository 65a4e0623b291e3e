import { Argument, Command } from 'commander';
import { completionScript, SHELLS, type CompletionWord } from '../completion.js';

/** `all` loads every command: their options are what is completed. */
export function completionCommand(all: () => Promise<Command[]>): Command {
  return new Command('completion')
    .description('print a script that completes commands and options in your shell')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .addHelpText(
      'after',
      `
Examples:
  $ darkbloom-provider completion zsh > "\${fpath[1]}/_darkbloom-provider"
  $ darkbloom-provider completion bash >> ~/.bash_completion
  $ darkbloom-provider completion fish > ~/.config/fish/completions/darkbloom-provider.fish`,
    )
    .action(async (shell: (typeof SHELLS)[number]) => {
      process.stdout.write(completionScript(shell, (await all()).map(wordOf)));
    });
}

function wordOf(command: Command): CompletionWord {
  return {
    name: command.name(),
    description: command.description(),
    options: [...command.options.flatMap(({ long }) => long ?? []), '--help'],
    subcommands: command.commands.map(wordOf),
  };
}
