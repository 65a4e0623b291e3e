import { Command } from 'commander';
import { z } from 'zod';
import { asOwner } from '../../as-owner.js';
import { printJson, SchemaVersion } from '../../json-output.js';
import { print, printDone } from '../../style.js';
import { printTable } from '../../table.js';

export const MachinesOutput = z.object({
  schema_version: SchemaVersion,
  machines: z
    .array(
      z.object({
        id: z.string().describe('Id of the machine, the same on every connection'),
        label: z.string().describe('How it was linked: `device-` and the code that was approved'),
        linked_at: z.string().describe('RFC 3339'),
        connected: z.boolean().describe('It is here now; then the fields below are there too'),
        chip: z.string().optional().describe('Its chip'),
        model: z.string().optional().describe('Which Mac it is'),
        version: z.string().optional().describe('Version of its program'),
        builds: z.array(z.string()).optional().describe('Builds that it can load'),
        orders: z
          .array(
            z.object({
              order: z.string().describe('`load_model` or `prefetch_model`'),
              model: z.string().describe('Build id'),
              status: z.string().describe('`sent`, or what the machine said of it last'),
              bytes_done: z.number().optional().describe('Of a download'),
              bytes_total: z.number().optional().describe('Of a download'),
              error: z.string().optional().describe('Why it failed'),
              given_at: z.string().describe('RFC 3339'),
            }),
          )
          .optional()
          .describe('Orders that it got since it connected'),
      }),
    )
    .describe("Machines that are linked to the owner's account"),
});
type MachinesOutput = z.infer<typeof MachinesOutput>;

/** The machines that are linked to the owner's account. */
export function machinesCommand(): Command {
  const command = new Command('machines').description("machines that are linked to the owner's account").addHelpText(
    'after',
    `
A machine obeys within the settings of its owner: it loads what it has, and fetches a model only with
models.follow_coordinator on.

Examples:
  $ darkbloom-provider coordinator machines --json
  $ darkbloom-provider coordinator machines load mach_0123 qwen3.5-4b
  $ darkbloom-provider coordinator machines revoke mach_0123`,
  );
  command
    .command('list', { isDefault: true })
    .description('all of them, and which are here')
    .option('--json', 'one JSON object')
    .action(list);
  command
    .command('load')
    .description('ask a machine to load a model that it has')
    .argument('<id>')
    .argument('<model>')
    .action((id: string, model: string) => order(id, 'load', model));
  command
    .command('prefetch')
    .description('ask a machine to download a model')
    .argument('<id>')
    .argument('<model>')
    .action((id: string, model: string) => order(id, 'prefetch', model));
  command
    .command('revoke')
    .description('end the link of a machine; its connection ends at once')
    .argument('<id>')
    .action(revoke);
  return command;
}

async function list({ json }: { json?: true }): Promise<void> {
  const { data } = await asOwner({ method: 'GET', path: '/v1/me/machines' });
  const output = MachinesOutput.parse({ schema_version: 1, machines: data });
  if (json === true) {
    printJson<MachinesOutput>(output);
    return;
  }
  if (output.machines.length === 0) {
    print('No machine is linked. On the machine: darkbloom-provider link URL');
    return;
  }
  printTable({
    head: ['id', 'label', 'linked', 'here', 'chip', 'last order'],
    rows: output.machines.map(({ id, label, linked_at: linked, connected, chip, orders }) => [
      id,
      label,
      linked.slice(0, 10),
      connected ? 'yes' : 'no',
      chip ?? '',
      orderText(orders?.at(-1)),
    ]),
    spare: ['chip', 'linked', 'label'],
  });
}

function orderText(last: { model: string; status: string; error?: string | undefined } | undefined): string {
  if (last === undefined) return '';
  return `${last.model} ${last.status}${last.error === undefined ? '' : `: ${last.error}`}`;
}

async function order(id: string, kind: 'load' | 'prefetch', model: string): Promise<void> {
  await asOwner({ method: 'POST', path: `${pathOf(id)}/${kind}`, body: { model } });
  printDone('Sent. What the machine makes of it: darkbloom-provider coordinator machines');
}

async function revoke(id: string): Promise<void> {
  await asOwner({ method: 'DELETE', path: pathOf(id) });
  printDone(`The link of ${id} is revoked.`);
}

function pathOf(id: string): string {
  return `/v1/me/machines/${encodeURIComponent(id)}`;
}
