import { z } from 'zod';
import type { Database } from '../database.js';
import { DarkbloomError } from '../errors.js';
import type { JsonObject } from '../inference/types.js';
import { FALLBACK_PRICE, PLATFORM_ACCOUNT, type Price } from './billing.js';
import { flag, json, optional, wholeNumber } from './columns.js';

const AnyObject = z.record(z.string(), z.unknown());
const BuildFile = z.object({ path: z.string(), sizeBytes: z.number(), sha256: z.string() });

/** One concrete artifact: what a provider announces on the wire. */
export interface Build {
  id: string;
  displayName: string;
  family: string;
  architecture: string;
  quantization: string;
  sizeBytes: number;
  /** Tokens, as is the next. */
  contextLength: number;
  maxOutputLength: number;
  minRamGb: number;
  /** SHA-256 over the files' digests; `undefined` when nobody pinned it. */
  weightHash?: string | undefined;
  files: z.infer<typeof BuildFile>[];
  /** Where the files come from. */
  source: string;
  capabilities: string[];
  /** Of the files; a new one takes the place of the old. */
  version: string;
  description: string;
  /** Hints for whoever runs the model, and facts about it. Stored and shown. */
  runtimeParameters: JsonObject;
  metadata: JsonObject;
  /** Whether consumers may ask for it. */
  active: boolean;
  /** Milliseconds since the Unix epoch. The first registration counts. */
  createdAt: number;
}

/** The name consumers use. The builds behind it change without their notice. */
export interface Alias {
  id: string;
  displayName: string;
  desiredBuild: string;
  previousBuild?: string | undefined;
  retiredBuilds: string[];
}

const BuildRow = z
  .object({
    id: z.string(),
    display_name: z.string(),
    family: z.string(),
    architecture: z.string(),
    quantization: z.string(),
    size_bytes: wholeNumber,
    context_length: wholeNumber,
    max_output_length: wholeNumber,
    min_ram_gb: z.number(),
    weight_hash: optional(z.string()),
    files: json(z.array(BuildFile)),
    source: z.string(),
    capabilities: json(z.array(z.string())),
    version: z.string(),
    description: z.string(),
    runtime_parameters: json(AnyObject),
    metadata: json(AnyObject),
    active: flag,
    created_at: wholeNumber,
  })
  .transform((row): Build => ({
    id: row.id,
    displayName: row.display_name,
    family: row.family,
    architecture: row.architecture,
    quantization: row.quantization,
    sizeBytes: row.size_bytes,
    contextLength: row.context_length,
    maxOutputLength: row.max_output_length,
    minRamGb: row.min_ram_gb,
    weightHash: row.weight_hash,
    files: row.files,
    source: row.source,
    capabilities: row.capabilities,
    version: row.version,
    description: row.description,
    runtimeParameters: row.runtime_parameters,
    metadata: row.metadata,
    active: row.active,
    createdAt: row.created_at,
  }));

const AliasRow = z
  .object({
    id: z.string(),
    display_name: z.string(),
    desired_build: z.string(),
    previous_build: optional(z.string()),
    retired_builds: json(z.array(z.string())),
  })
  .transform((row): Alias => ({
    id: row.id,
    displayName: row.display_name,
    desiredBuild: row.desired_build,
    previousBuild: row.previous_build,
    retiredBuilds: row.retired_builds,
  }));

const OriginRow = z.object({ origin: z.enum(['shipped', 'admin']) });
/** Who said it: the program, or an administrator, whose word stays. */
type Origin = z.infer<typeof OriginRow>['origin'];

/** What routing must know of a build. */
export type WantedBuild = Pick<Build, 'id' | 'weightHash' | 'maxOutputLength'>;

const WantedRow = z
  .object({ id: z.string(), weight_hash: optional(z.string()), max_output_length: wholeNumber, active: flag })
  .transform((row) => ({
    id: row.id,
    weightHash: row.weight_hash,
    maxOutputLength: row.max_output_length,
    active: row.active,
  }));

const PriceRow = z.object({ input: z.bigint(), output: z.bigint() });

/** The models consumers can ask for, and their prices. */
export class Registry {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * The models that this program brings along, at each start. Those that are no longer among them leave the list, with
   * the names that stood for them; what they served stays in the usage rows. What an administrator said of a build or
   * an alias is left as it is, and its name is not taken from it.
   */
  seed(models: readonly { build: Build; alias: Alias }[]): void {
    const shipped = new Set(models.map(({ build }) => build.id));
    this.#database.transaction(() => {
      for (const { id } of this.builds()) {
        if (shipped.has(id) || this.#origin('builds', id) === 'admin') continue;
        this.#database.run("DELETE FROM aliases WHERE desired_build = ? AND origin = 'shipped'", id);
        this.#database.run('UPDATE builds SET active = 0 WHERE id = ?', id);
      }
      for (const { build, alias } of models) {
        if (this.#origin('builds', build.id) !== 'admin' && this.alias(build.id) === undefined) {
          this.#writeBuild(build, 'shipped');
        }
        if (this.#origin('aliases', alias.id) !== 'admin' && this.build(alias.id) === undefined) {
          this.#writeAlias(alias, 'shipped');
        }
      }
    });
  }

  /** An administrator adds a build or changes it; `createdAt` stays that of the first time.
   *  @throws DarkbloomError `conflict` when an alias has this name. */
  putBuild(build: Build): void {
    this.#database.transaction(() => {
      if (this.alias(build.id) !== undefined) throw nameTaken(build.id, 'an alias', 'model_id');
      this.#writeBuild(build, 'admin');
    });
  }

  /** Whether consumers may ask for the build. False when there is none. */
  setActive(id: string, active: boolean): boolean {
    return this.#database.run("UPDATE builds SET active = ?, origin = 'admin' WHERE id = ?", Number(active), id) > 0;
  }

  /** An administrator adds an alias or changes it.
   *  @throws DarkbloomError `conflict` when a build has this name. */
  putAlias(alias: Alias): void {
    this.#database.transaction(() => {
      if (this.build(alias.id) !== undefined) throw nameTaken(alias.id, 'a build', 'alias');
      this.#writeAlias(alias, 'admin');
    });
  }

  /** An alias that came with the program is back at the next start. False when there is none. */
  removeAlias(id: string): boolean {
    return this.#database.run('DELETE FROM aliases WHERE id = ?', id) > 0;
  }

  #origin(table: 'builds' | 'aliases', id: string): Origin | undefined {
    const row = this.#database.get(`SELECT origin FROM ${table} WHERE id = ?`, id);
    return row === undefined ? undefined : OriginRow.parse(row).origin;
  }

  #writeBuild(build: Build, origin: Origin): void {
    this.#database.run(
      `INSERT INTO builds (id, display_name, family, architecture, quantization, size_bytes, context_length,
         max_output_length, min_ram_gb, weight_hash, files, source, capabilities, version, description,
         runtime_parameters, metadata, active, origin, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET display_name = excluded.display_name, family = excluded.family,
         architecture = excluded.architecture, quantization = excluded.quantization,
         size_bytes = excluded.size_bytes, context_length = excluded.context_length,
         max_output_length = excluded.max_output_length, min_ram_gb = excluded.min_ram_gb,
         weight_hash = excluded.weight_hash, files = excluded.files, source = excluded.source,
         capabilities = excluded.capabilities, version = excluded.version, description = excluded.description,
         runtime_parameters = excluded.runtime_parameters, metadata = excluded.metadata, active = excluded.active,
         origin = excluded.origin`,
      build.id,
      build.displayName,
      build.family,
      build.architecture,
      build.quantization,
      build.sizeBytes,
      build.contextLength,
      build.maxOutputLength,
      build.minRamGb,
      build.weightHash ?? null,
      JSON.stringify(build.files),
      build.source,
      JSON.stringify(build.capabilities),
      build.version,
      build.description,
      JSON.stringify(build.runtimeParameters),
      JSON.stringify(build.metadata),
      Number(build.active),
      origin,
      build.createdAt,
    );
  }

  #writeAlias(alias: Alias, origin: Origin): void {
    this.#database.run(
      `INSERT INTO aliases (id, display_name, desired_build, previous_build, retired_builds, origin)
       VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET display_name = excluded.display_name, desired_build = excluded.desired_build,
         previous_build = excluded.previous_build, retired_builds = excluded.retired_builds, origin = excluded.origin`,
      alias.id,
      alias.displayName,
      alias.desiredBuild,
      alias.previousBuild ?? null,
      JSON.stringify(alias.retiredBuilds),
      origin,
    );
  }

  /** All builds by id, those that are not active too. */
  builds(): Build[] {
    return this.#database.all('SELECT * FROM builds ORDER BY id').map((row) => BuildRow.parse(row));
  }

  /** All aliases by id. */
  aliases(): Alias[] {
    return this.#database.all('SELECT * FROM aliases ORDER BY id').map((row) => AliasRow.parse(row));
  }

  build(id: string): Build | undefined {
    const row = this.#database.get('SELECT * FROM builds WHERE id = ?', id);
    return row === undefined ? undefined : BuildRow.parse(row);
  }

  alias(id: string): Alias | undefined {
    const row = this.#database.get('SELECT * FROM aliases WHERE id = ?', id);
    return row === undefined ? undefined : AliasRow.parse(row);
  }

  /** The active builds that may answer for a name, the preferred first: those of an alias, or the build of that name.
   *  An alias may have none left; a name that is neither an alias nor an active build is `undefined`. */
  wanted(name: string): WantedBuild[] | undefined {
    const ofAlias = this.#database.all(
      `SELECT builds.id, weight_hash, max_output_length, active
       FROM aliases LEFT JOIN builds ON builds.id IN (desired_build, previous_build)
       WHERE aliases.id = ? ORDER BY builds.id = desired_build DESC`,
      name,
    );
    const sql = 'SELECT id, weight_hash, max_output_length, active FROM builds WHERE id = ? AND active = 1';
    const rows = ofAlias.length > 0 ? ofAlias : this.#database.all(sql, name);
    if (rows.length === 0) return undefined;
    return rows
      .filter(({ id }) => id !== null) // the one row of an alias without a build
      .map((row) => WantedRow.parse(row))
      .filter(({ active }) => active);
  }

  /** The same with all that is known of the builds, and the alias if it is one. */
  resolve(name: string): { alias: Alias | undefined; builds: Build[] } | undefined {
    const builds = this.wanted(name)?.flatMap(({ id }) => this.build(id) ?? []);
    return builds && { alias: this.alias(name), builds };
  }

  /** The builds that a list of models leaves out, because an alias stands for them. */
  hiddenBuilds(): Set<string> {
    return new Set(
      this.aliases().flatMap(({ desiredBuild, previousBuild, retiredBuilds }) => [
        desiredBuild,
        ...(previousBuild === undefined ? [] : [previousBuild]),
        ...retiredBuilds,
      ]),
    );
  }

  platformPrice(buildId: string): Price | undefined {
    return this.#price(buildId, PLATFORM_ACCOUNT);
  }

  /** @throws DarkbloomError `bad_request` for a price that is not positive. */
  putPlatformPrice(buildId: string, price: Price): void {
    this.#putPrice(buildId, PLATFORM_ACCOUNT, price);
  }

  /** What an account asks for a build on its own machines. */
  ownPrice(accountId: string, buildId: string): Price | undefined {
    return this.#price(buildId, accountId);
  }

  /** @throws DarkbloomError `bad_request` for a price that is not positive. */
  putOwnPrice(accountId: string, buildId: string, price: Price): void {
    this.#putPrice(buildId, accountId, price);
  }

  /** False when the account asked for none. */
  removeOwnPrice(accountId: string, buildId: string): boolean {
    return this.#database.run('DELETE FROM prices WHERE build_id = ? AND account_id = ?', buildId, accountId) > 0;
  }

  /** What a request costs on a machine of this account: its own price, else the platform's, else the fallback. */
  priceFor(buildId: string, providerAccountId: string): Price {
    const sql = `SELECT input, output FROM prices WHERE build_id = ? AND account_id IN (?, ?)
      ORDER BY account_id = ? DESC LIMIT 1`;
    const row = this.#database.get(sql, buildId, providerAccountId, PLATFORM_ACCOUNT, providerAccountId);
    return row === undefined ? FALLBACK_PRICE : PriceRow.parse(row);
  }

  #price(buildId: string, accountId: string): Price | undefined {
    const sql = 'SELECT input, output FROM prices WHERE build_id = ? AND account_id = ?';
    const row = this.#database.get(sql, buildId, accountId);
    return row === undefined ? undefined : PriceRow.parse(row);
  }

  #putPrice(buildId: string, accountId: string, price: Price): void {
    for (const side of ['input', 'output'] as const) {
      if (price[side] > 0n) continue;
      const param = `${side}_price`;
      throw new DarkbloomError('bad_request', `${param}: must be more than 0`, { param });
    }
    this.#database.run(
      `INSERT INTO prices (build_id, account_id, input, output) VALUES (?, ?, ?, ?)
       ON CONFLICT (build_id, account_id) DO UPDATE SET input = excluded.input, output = excluded.output`,
      buildId,
      accountId,
      price.input,
      price.output,
    );
  }
}

function nameTaken(id: string, holder: string, param: string): DarkbloomError {
  return new DarkbloomError('conflict', `${id} is the name of ${holder} already.`, { param });
}
