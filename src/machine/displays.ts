import { z } from 'zod';
import { tryJson } from '../util/json.js';

/** What `system_profiler -json SPDisplaysDataType` prints: one entry per GPU, the number of cores as a string. */
const DisplaysReport = z.object({
  SPDisplaysDataType: z.array(
    z.object({ sppci_cores: z.coerce.number().int().positive().optional().catch(undefined) }),
  ),
});

/** The GPU's cores; 0: the report does not say (virtual machine, Intel) or could not be read. */
export function gpuCoresOf(report: string): number {
  const parsed = DisplaysReport.safeParse(tryJson(report));
  if (!parsed.success) return 0;
  return parsed.data.SPDisplaysDataType.find((gpu) => gpu.sppci_cores !== undefined)?.sppci_cores ?? 0;
}
