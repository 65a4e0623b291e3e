import { Command } from 'commander';
import { z } from 'zod';
import { MachineView } from '../../../coordinator/machine-view.js';
import type { JsonObject } from '../../../inference/types.js';
import { printJson, SchemaVersion } from '../../json-output.js';
import { print } from '../../style.js';
import { printTable } from '../../table.js';

export const MachinesOutput = z.object({
  schema_version: SchemaVersion,
  linked: z.boolean().describe('Any machine is linked to the account, connected or not'),
  machines: z.array(MachineView).describe('Machines that are connected now'),
});
type MachinesOutput = z.infer<typeof MachinesOutput>;

/** `ask` gets `/v1/me/machines` of the coordinator in this home. */
export function machinesCommand(ask: () => Promise<JsonObject>): Command {
  return new Command('machines')
    .description('your machines that are connected to this coordinator, their models and their speed now')
    .option('--json', 'one JSON object')
    .action(async ({ json }: { json?: true }) =>
      show(MachinesOutput.parse({ schema_version: 1, ...(await ask()) }), json),
    );
}

function show(output: MachinesOutput, json: true | undefined): void {
  if (json === true) {
    printJson<MachinesOutput>(output);
    return;
  }
  if (output.machines.length === 0) {
    print(
      output.linked
        ? 'No machine is connected. Start one with `darkbloom-provider start`.'
        : 'No machine is linked. On one, run `darkbloom-provider link URL` with the address of this coordinator.',
    );
    return;
  }
  printTable({
    head: ['machine', 'state', 'running', 'tokens/s', 'models'],
    rows: output.machines.map((machine) => [
      `${machine.chip}, ${machine.memory_gb} GB`,
      machine.state,
      String(machine.running),
      String(machine.tokens_per_second.at(-1) ?? 0),
      machine.models.map(({ id, state }) => `${id} (${state})`).join(', '),
    ]),
    spare: ['models', 'running'],
  });
}
