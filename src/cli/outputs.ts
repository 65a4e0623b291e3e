import type { z } from 'zod';
import { StatusOutput } from '../service/status.js';
import { ConfigGetOutput, ConfigShowOutput } from './commands/config.js';
import { AccountsOutput } from './commands/coordinator.js';
import { MachinesOutput } from './commands/coordinator/machines.js';
import { DoctorOutput } from './commands/doctor.js';
import { LocalOutput } from './commands/local.js';
import { LogsOutput } from './commands/logs.js';
import { ReportOutput } from './report.js';
import { PrivacyOutput } from './commands/privacy.js';
import { UsageOutput } from './commands/usage.js';
import { UninstallOutput } from './commands/uninstall.js';
import { WhyOutput } from './commands/why.js';
import { ErrorOutput } from './failure.js';
import {
  ModelsAdoptOutput,
  ModelsCatalogOutput,
  ModelsListOutput,
  ModelsPlanOutput,
  ModelsPruneOutput,
} from './models-output.js';

/** What `--json` prints: `npm run docs` writes a file of docs/schemas for each, its name with dashes. */
export const OUTPUTS = {
  status: { schema: StatusOutput, meaning: 'What the running daemon does at this moment.' },
  why: { schema: WhyOutput, meaning: 'The first thing that keeps this machine from serving a request.' },
  doctor: { schema: DoctorOutput, meaning: 'What the checks of this installation found.' },
  local: { schema: LocalOutput, meaning: 'Where programs on this machine find the running daemon, and its key.' },
  logs: { schema: LogsOutput, meaning: 'One line of the log; each line of the output is such an object.' },
  'models list': { schema: ModelsListOutput, meaning: 'Models on this machine.' },
  'models catalog': { schema: ModelsCatalogOutput, meaning: 'Models that can be downloaded.' },
  'models plan': { schema: ModelsPlanOutput, meaning: 'Which models fit, with the sum.' },
  'models adopt': { schema: ModelsAdoptOutput, meaning: 'Models that other applications hold.' },
  'models prune --dry-run': { schema: ModelsPruneOutput, meaning: 'What `models prune` would remove.' },
  usage: { schema: UsageOutput, meaning: 'Requests and tokens that this machine answered.' },
  privacy: { schema: PrivacyOutput, meaning: 'What this node does with prompts, what it keeps and what leaves it.' },
  'config show': { schema: ConfigShowOutput, meaning: 'Every setting, and who set it.' },
  'config get': { schema: ConfigGetOutput, meaning: 'One setting, and who set it.' },
  'coordinator account list': { schema: AccountsOutput, meaning: 'Accounts of the coordinator in this home.' },
  'coordinator machines': { schema: MachinesOutput, meaning: 'Machines connected to the coordinator in this home.' },
  report: { schema: ReportOutput, meaning: 'What a bug report needs, without what is private.' },
  'uninstall --dry-run': { schema: UninstallOutput, meaning: 'What `uninstall` would remove.' },
} as const satisfies Record<string, { schema: z.ZodType; meaning: string }>;

/** What any of them prints on stderr when it fails. */
export const FAILURE = { schema: ErrorOutput, meaning: 'Why a command failed: the one line on stderr.' };
