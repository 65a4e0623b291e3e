import { Command } from 'commander';
import { adoptCommand } from './models/adopt.js';
import { download } from './models/download.js';
import { catalog, list } from './models/list.js';
import { plan } from './models/plan.js';
import { prune } from './models/prune.js';
import { remove } from './models/remove.js';
import { verify } from './models/verify.js';

export function modelsCommand(): Command {
  const command = new Command('models')
    .description('which models this machine has, could have, and has room for')
    .addHelpText(
      'after',
      `
Examples:
  $ darkbloom-provider models plan                what fits this machine, with the sum
  $ darkbloom-provider models download qwen3.5-4b
  $ darkbloom-provider models adopt               what Ollama, LM Studio and Hugging Face hold
  $ darkbloom-provider models prune --dry-run     what no longer serves, and how much it is
  $ darkbloom-provider models plan --as "M2 16GB"`,
    );
  command
    .command('list', { isDefault: true })
    .description('models on this machine')
    .addHelpText('after', examples('models', 'models list --json'))
    .option('--json', 'one JSON object')
    .action(list);
  command
    .command('catalog')
    .description('models that can be downloaded')
    .addHelpText('after', examples('models catalog'))
    .option('--json', 'one JSON object')
    .action(catalog);
  command
    .command('download')
    .description('fetch a model; goes on where an earlier try ended')
    .argument('<model>', 'its name, or the id of one of its builds')
    .addHelpText('after', examples('models download qwen3.5-4b', 'models download local/qwen3.5-0.8b-q4_0'))
    .action(download);
  command
    .command('adopt')
    .description('use a file of another application in place; without a name, list what there is')
    .argument('[name]', 'its name, or its path')
    .addHelpText('after', examples('models adopt', 'models adopt llama3.2:3b'))
    .option('--json', 'one JSON object')
    .action(adoptCommand);
  command
    .command('verify')
    .description('hash the files of a model anew')
    .argument('<model>', 'its name, or its build id')
    .addHelpText('after', examples('models verify qwen3.5-4b'))
    .action(verify);
  command
    .command('remove')
    .description('delete a downloaded model, forget an adopted one')
    .argument('<model>', 'its name, or its build id')
    .addHelpText('after', examples('models remove qwen3.5-4b'))
    .action(remove);
  command
    .command('prune')
    .description(
      'remove what no longer serves: unfinished downloads, builds that the catalogue has no more, stray files',
    )
    .option('--dry-run', 'only list it')
    .option('--json', 'one JSON object, with --dry-run')
    .option('--yes', 'do not ask; needed where nobody can be asked')
    .addHelpText(
      'after',
      `
Looks in the folder models of the home alone. Files of other applications, files of [models.files] and what a process
downloads at this moment stay.

Examples:
  $ darkbloom-provider models prune --dry-run
  $ darkbloom-provider models prune --yes`,
    )
    .action(prune);
  command
    .command('plan')
    .description('which models fit, with the sum: weights, KV cache, compute, reserve')
    .option('--as <mac>', 'for another Mac, for example "M2 16GB"')
    .addHelpText('after', examples('models plan', 'models plan --as "M2 16GB"'))
    .option('--json', 'one JSON object')
    .action(plan);
  return command;
}

function examples(...lines: string[]): string {
  return ['', 'Examples:', ...lines.map((line) => `  $ darkbloom-provider ${line}`)].join('\n');
}
