/** What a shell completes: a command, its options, and its own subcommands. */
export interface CompletionWord {
  name: string;
  description: string;
  options: string[];
  subcommands: CompletionWord[];
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

const PROGRAM = 'darkbloom-provider';

/** The script that teaches a shell these commands. Pure. */
export function completionScript(shell: Shell, commands: readonly CompletionWord[]): string {
  switch (shell) {
    case 'bash':
      return bash(commands);
    case 'zsh':
      return zsh(commands);
    case 'fish':
      return fish(commands);
    default:
      return shell satisfies never;
  }
}

function wordsOf({ options, subcommands }: CompletionWord): string {
  return [...subcommands.map(({ name }) => name), ...options].join(' ');
}

function bash(commands: readonly CompletionWord[]): string {
  const cases = commands.map((command) => `    ${command.name}) words="${wordsOf(command)}" ;;`);
  return `_darkbloom_provider() {
  local words
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    *) words="" ;;
  esac
  [ "$COMP_CWORD" -eq 1 ] && words="${commands.map(({ name }) => name).join(' ')}"
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _darkbloom_provider ${PROGRAM}
`;
}

function zsh(commands: readonly CompletionWord[]): string {
  const quoted = (text: string) => text.replaceAll("'", "'\\''").replaceAll(':', '\\:');
  const names = commands.map(({ name, description }) => `    '${name}:${quoted(description)}'`);
  const cases = commands.map((command) => `    ${command.name}) compadd -- ${wordsOf(command)} ;;`);
  return `#compdef ${PROGRAM}
_darkbloom_provider() {
  local -a commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  case "\${words[2]}" in
${cases.join('\n')}
  esac
}
compdef _darkbloom_provider ${PROGRAM}
`;
}

function fish(commands: readonly CompletionWord[]): string {
  const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = commands.flatMap(({ name, description, options, subcommands }) => {
    const after = `complete -c ${PROGRAM} -n ${quoted(`__fish_seen_subcommand_from ${name}`)}`;
    return [
      `complete -c ${PROGRAM} -n __fish_use_subcommand -a ${name} -d ${quoted(description)}`,
      ...subcommands.map((inner) => `${after} -a ${inner.name} -d ${quoted(inner.description)}`),
      ...options.filter((option) => option.startsWith('--')).map((option) => `${after} -l ${option.slice(2)}`),
    ];
  });
  return `complete -c ${PROGRAM} -f\n${lines.join('\n')}\n`;
}
