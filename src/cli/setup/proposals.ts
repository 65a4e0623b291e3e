import type { KvType, ModelShape } from '../../inference/footprint.js';
import type { Candidate } from '../../models/adopt.js';
import type { CatalogModel } from '../../models/catalog.js';
import { fitOf, planFor, type Fit } from '../../models/plan.js';

/** What the first run proposes to serve, best first. Pure. */

/** More would not be read. */
const MAX_DOWNLOADS = 5;
const MAX_ADOPTED = 3;

export interface Download extends Fit {
  kind: 'download';
  /** Alias. */
  name: string;
  build: string;
  quantization: string;
  bytes: number;
}

/** A file that another application holds. */
export interface Adoption extends Fit {
  kind: 'adopt';
  name: string;
  quantization: string;
  candidate: Candidate;
}

/** The model of the package, always there. */
export interface Demo {
  kind: 'demo';
  name: string;
}

export type Proposal = Download | Adoption | Demo;

/** The machine that the proposals are for. */
export interface Room {
  /** The most that loaded models may take, bytes. */
  limitBytes: number;
  /** What a download may take of the disk, bytes. */
  diskBytes: number;
  /** Requests at once and context of each, as in the settings. */
  rows: number;
  contextTokens: number;
  kvType: KvType;
}

/** Models that fit memory and disk, those that are here already first. The demo model is no proposal. */
export function proposalsFor(
  catalog: readonly CatalogModel[],
  here: readonly { candidate: Candidate; shape: ModelShape }[],
  room: Room,
): Exclude<Proposal, Demo>[] {
  const adoptions = here
    .map(({ candidate, shape }) => adoption(candidate, shape, room))
    .filter(({ fits }) => fits !== 'no')
    .slice(0, MAX_ADOPTED);
  const fitting = downloads(catalog, room).filter(({ fits, bytes }) => fits !== 'no' && bytes <= room.diskBytes);
  const best = new Map<string, Download>();
  for (const each of [...fitting.filter(({ fits }) => fits === 'as_set'), ...fitting]) {
    if (!best.has(each.name)) best.set(each.name, each);
  }
  return [...adoptions, ...[...best.values()].slice(0, MAX_DOWNLOADS)];
}

/** A model that leaves this share of the limit to whatever else runs is recommended before a better one. */
const FREE_SHARE = 0.25;

/** The proposal that is taken when nobody chooses. */
export function recommendedOf<Each extends Fit>(proposals: readonly Each[], { limitBytes }: Room): Each | undefined {
  return proposals.find(({ leftBytes }) => leftBytes >= limitBytes * FREE_SHARE) ?? proposals[0];
}

export function adoption(candidate: Candidate, shape: ModelShape, room: Room): Adoption {
  const { name, quantization } = candidate;
  return { kind: 'adopt', name, quantization, candidate, ...fitOf(shape, room) };
}

/** All builds of the catalogue that can be downloaded, those that do not fit too. */
export function downloads(catalog: readonly CatalogModel[], room: Room): Download[] {
  return planFor({ catalog, ...room }).lines.map(({ id, alias, quantization, downloadBytes, ...fit }) => {
    const { fits, sum, leftBytes, rows, contextTokens } = fit;
    return {
      kind: 'download',
      name: alias,
      build: id,
      quantization,
      bytes: downloadBytes,
      fits,
      sum,
      leftBytes,
      rows,
      contextTokens,
    };
  });
}
