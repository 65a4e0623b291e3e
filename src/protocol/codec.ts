import { z } from 'zod';
import { CoordinatorMessage } from './coordinator-messages.js';
import { ProviderMessage } from './provider-messages.js';

/** A frame that was understood, or why not. `reason` names the type and field, never the content. */
type Decoded<M> = { ok: true; message: M } | { ok: false; reason: string };

/** One JSON object per text frame. Bad frames are reported, never thrown: one of them must not end the connection. */
export const decodeCoordinatorFrame = (frame: string): Decoded<CoordinatorMessage> => decode(CoordinatorMessage, frame);
export const decodeProviderFrame = (frame: string): Decoded<ProviderMessage> => decode(ProviderMessage, frame);

export function encode(message: CoordinatorMessage | ProviderMessage): string {
  return JSON.stringify(message);
}

const Typed = z.object({ type: z.string().max(100) });

function decode<M>(schema: z.ZodType<M>, frame: string): Decoded<M> {
  let json: unknown;
  try {
    json = JSON.parse(frame);
  } catch {
    return { ok: false, reason: `not JSON (${frame.length} characters)` };
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return { ok: true, message: parsed.data };
  const typed = Typed.safeParse(json);
  if (!typed.success) return { ok: false, reason: 'no type' };
  const issue = parsed.error.issues[0];
  const unknownType = issue?.code === 'invalid_union';
  return {
    ok: false,
    reason: unknownType
      ? `unknown type ${typed.data.type}`
      : `${typed.data.type}.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`,
  };
}
