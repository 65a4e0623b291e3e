import { z } from 'zod';
import type { Settings } from '../config.js';
import { PrivacyCapabilities } from '../protocol/provider-messages.js';

/** What a daemon says of itself that matters for somebody's prompts. Sent over the control socket. */
export const NodePrivacy = z.strictObject({
  schema_version: z.literal(1),
  /** Absent: this machine is its own coordinator. */
  coordinator_url: z.string().optional(),
  serve_others: z.boolean(),
  /** Address the HTTP port is bound to. */
  host: z.string(),
  /** Whether that port speaks TLS to other machines; absent from a daemon that did not know TLS yet. */
  tls: z.boolean().optional(),
  /** As `register` tells the coordinator. */
  capabilities: PrivacyCapabilities,
});
export type NodePrivacy = z.infer<typeof NodePrivacy>;

/** What settings and process make of it. Pure. */
export function nodePrivacy({ coordinator, provider, http }: Settings, capabilities: PrivacyCapabilities): NodePrivacy {
  return {
    schema_version: 1,
    ...(coordinator.url === undefined ? {} : { coordinator_url: coordinator.url }),
    serve_others: provider.serve_others,
    host: http.host,
    tls: http.tls_cert !== undefined,
    capabilities,
  };
}
