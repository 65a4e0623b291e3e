import { expect, test } from 'vitest';
import { configCommand } from '../../src/cli/commands/config.js';
import { helpText } from '../../src/cli/help.js';

const TEXT = `
One sentence that is told over
two lines. Another one.

Examples:
  $ darkbloom-provider an example that is longer than the screen and stays whole
`;

test('paragraphs of a help fit the screen, what is indented stays as it is', () => {
  expect(helpText(TEXT, 24)).toBe(`
One sentence that is
told over two lines.
Another one.

Examples:
  $ darkbloom-provider an example that is longer than the screen and stays whole
`);
  expect(helpText(TEXT, 60)).toContain('One sentence that is told over two lines. Another one.\n');
});

test.each(configCommand().commands.map((command) => [command.name(), command] as const))(
  'the help of config %s has examples of it',
  (name, command) => {
    let text = '';
    command.configureOutput({ writeOut: (more) => (text += more) }).outputHelp();
    expect(text).toContain(`\nExamples:\n  $ darkbloom-provider config ${name}`);
  },
);
