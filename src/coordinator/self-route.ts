import { DarkbloomError } from '../errors.js';
import type { HttpContext } from '../http/app.js';
import type { JsonObject } from '../inference/types.js';
import type { Account, Accounts, Caller } from './accounts.js';
import type { Fleet } from './fleet.js';
import type { RouteMode } from './ledger.js';

/** Which machines a request may use, by its headers, its key and its body. */

export const MACHINE_HEADER = 'X-Darkbloom-Machine';
const MAX_NAME_CHARACTERS = 256;
const MAX_SERIALS = 100;

interface SelfRouteDeps {
  fleet: Fleet;
  accounts: Accounts;
  /** What a request of the owner's account without a route header means. */
  selfRouteDefault: 'self' | 'none';
}

/** What `X-Darkbloom-Route` and the key ask for; without either, `fallback`. */
export function routeModeOf(header: string | undefined, selfRouteOnly: boolean, fallback: RouteMode): RouteMode {
  if (selfRouteOnly) return 'self';
  if (header === undefined) return fallback;
  const word = header.trim().toLowerCase();
  return word === 'self' || word === 'prefer' ? word : 'none';
}

export function routeOf(context: HttpContext, caller: Caller, { selfRouteDefault }: SelfRouteDeps): RouteMode {
  const fallback = caller.account.isOwner ? selfRouteDefault : 'none';
  const selfRouteOnly = caller.via === 'key' && caller.key.selfRouteOnly;
  return routeModeOf(context.req.header('x-darkbloom-route'), selfRouteOnly, fallback);
}

/** The machines of the caller that a request names, in its header or as serials in its body; `undefined`: any will do.
 *  @throws DarkbloomError `invalid_request` for names that are none, `machine_not_found` for a machine that is not the
 *  caller's, whether it exists or not. */
export function namedMachines(
  context: HttpContext,
  body: JsonObject,
  { mode, account }: { mode: RouteMode; account: Account },
  deps: SelfRouteDeps,
): ReadonlySet<string> | undefined {
  const inHeader = headerName(context, mode);
  const inBody = serialsIn(body);
  if (inHeader === undefined && inBody === undefined) return undefined;
  const known = new Set([
    ...deps.accounts.machines(account.id).map(({ id }) => id),
    ...deps.fleet.machines.flatMap(({ accountId, machineId }) => (accountId === account.id ? (machineId ?? []) : [])),
  ]);
  const named = [...(inHeader === undefined ? [] : [inHeader]), ...(inBody?.names ?? [])];
  if (!named.every((name) => known.has(name)))
    throw notFound(inHeader === undefined ? inBody?.param : MACHINE_HEADER, known);
  if (inHeader === undefined) return new Set(inBody?.names);
  if (inBody !== undefined && !inBody.names.includes(inHeader)) {
    throw invalid(inBody.param, `'${inBody.param}' does not name the machine of ${MACHINE_HEADER}.`);
  }
  return new Set([inHeader]);
}

function headerName(context: HttpContext, mode: RouteMode): string | undefined {
  const name = context.req.header(MACHINE_HEADER)?.trim();
  if (name === undefined) return undefined;
  if (mode !== 'self') throw invalid(MACHINE_HEADER, `${MACHINE_HEADER} goes with X-Darkbloom-Route: self alone.`);
  if (name === '' || name.includes(',')) throw invalid(MACHINE_HEADER, `${MACHINE_HEADER} names exactly one machine.`);
  if (name.length <= MAX_NAME_CHARACTERS) return name;
  throw invalid(
    MACHINE_HEADER,
    `${MACHINE_HEADER} has ${name.length} characters; the limit is ${MAX_NAME_CHARACTERS}.`,
  );
}

/** `provider_serial` and `provider_serials`: here, ids of machines. */
function serialsIn(body: JsonObject): { param: string; names: string[] } | undefined {
  const given = (['provider_serial', 'provider_serials'] as const).filter((field) => body[field] !== undefined);
  const [param] = given;
  if (param === undefined) return undefined;
  const names = new Set<string>();
  for (const field of given) {
    const value = body[field];
    const all: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (all.length > MAX_SERIALS)
      throw invalid(field, `'${field}' has ${all.length} entries; the limit is ${MAX_SERIALS}.`);
    for (const name of all) {
      if (typeof name !== 'string') throw invalid(field, `'${field}' must be the id of a machine, or a list of ids.`);
      if (name.trim() !== '') names.add(name.trim());
    }
  }
  if (names.size === 0) throw invalid(param, `'${param}' names no machine.`);
  return { param, names: [...names] };
}

function invalid(param: string, message: string): DarkbloomError {
  return new DarkbloomError('invalid_request', message, { param });
}

/** The caller's own machines are no secret to the caller. */
function notFound(param: string | undefined, known: ReadonlySet<string>): DarkbloomError {
  const have = known.size === 0 ? 'It has none.' : `It has: ${[...known].join(', ')}.`;
  return new DarkbloomError('machine_not_found', `There is no such machine in this account. ${have}`, {
    ...(param === undefined ? {} : { param }),
  });
}
