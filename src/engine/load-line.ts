import { DarkbloomError } from '../errors.js';
import type { Log } from '../log.js';
import type { Hold } from './admission.js';
import { gib } from '../util/byte-words.js';
import { limitOrigin, type MemoryBudget } from './memory-budget.js';
import type { Turn } from './model-seat.js';
import type { ModelSlot } from './model-slot.js';
import { placementFor, type Placement, type Resident } from './placement.js';

interface LineOptions {
  slots: () => readonly ModelSlot[];
  budget: MemoryBudget;
  /** Most models in memory at once. */
  maxLoadedModels: number;
  log: Log;
}

/** A load that waits for room. Nothing of it is in memory yet. */
interface Pending {
  slot: ModelSlot;
  begin: (turn: Turn | undefined) => void;
  refuse: (error: DarkbloomError) => void;
}

/** The loads that wait for memory, and who leaves memory for them. One model is loaded at a time, so that the sums are true
 *  when each begins. */
export class LoadLine {
  readonly #options: LineOptions;
  /** In the order in which they came; at most one for each slot. */
  #pending: Pending[] = [];
  #placing: Pending | undefined;

  constructor(options: LineOptions) {
    this.#options = options;
  }

  /** Memory of the models that are loaded or being loaded, bytes. */
  get usedBytes(): number {
    const resident = this.#options.slots().filter(({ seat }) => seat.inMemory);
    return resident.reduce((sum, { seat }) => sum + seat.bytes, 0);
  }

  /** Waits for room and the turn; `undefined` when nobody wants the model any more. */
  room(slot: ModelSlot): Promise<Turn | undefined> {
    return new Promise((begin, refuse) => {
      this.#pending.push({ slot, begin, refuse });
      this.advance();
    });
  }

  /** Looks at the loads that wait: drops those that nobody wants, begins the first that fits, and keeps requests from the
   *  models that another waits for. The owner's loads come first, and no stranger's passes one of them. */
  advance(): void {
    const holds = new Map<string, Hold>();
    const byRank = [...this.#pending].sort((a, b) => rank(a.slot) - rank(b.slot));
    let ownerWaits = false;
    if (this.#placing !== undefined) {
      const placement = this.#placementOf(this.#placing.slot);
      if (placement.kind === 'fits') for (const id of placement.evict) holds.set(id, 'all');
    }
    for (const pending of byRank) {
      const { slot } = pending;
      const { wantedBy } = slot.seat;
      const placement = this.#placementOf(slot);
      if (wantedBy === undefined) this.#take(pending).begin(undefined);
      else if (placement.kind === 'never') this.#take(pending).refuse(this.refusal(slot));
      else if (placement.kind === 'wait') {
        ownerWaits ||= wantedBy === 'owner';
        for (const id of placement.waitFor) {
          if (holds.get(id) !== 'all') holds.set(id, wantedBy === 'owner' ? 'all' : 'strangers');
        }
      } else if (this.#placing === undefined && !(ownerWaits && wantedBy === 'stranger')) {
        this.#placing = this.#take(pending);
        void this.#place(this.#placing);
      }
    }
    for (const slot of this.#options.slots()) slot.hold(holds.get(slot.model.id) ?? 'none');
  }

  #find(id: string): ModelSlot | undefined {
    return this.#options.slots().find(({ model }) => model.id === id);
  }

  #take(pending: Pending): Pending {
    this.#pending = this.#pending.filter((other) => other !== pending);
    return pending;
  }

  /** Unloads idle models, one after another, until the model fits. What is idle is looked at anew each time: a request
   *  may have come while the last one was unloaded. */
  async #place(pending: Pending): Promise<void> {
    for (;;) {
      const placement = this.#placementOf(pending.slot);
      if (placement.kind !== 'fits') {
        this.#placing = undefined;
        this.#pending.unshift(pending);
        this.advance();
        return;
      }
      const [first] = placement.evict;
      if (first === undefined) break;
      await this.#find(first)?.seat.unload();
    }
    const end = () => {
      this.#placing = undefined;
      void this.#trim(pending.slot);
      this.advance();
    };
    pending.begin({ end });
  }

  /** A model that took more than was predicted may have to be made room for afterwards. */
  async #trim(loaded: ModelSlot): Promise<void> {
    const used = this.usedBytes;
    const { limitBytes } = this.#options.budget;
    if (used <= limitBytes) return;
    this.#options.log.warn({ model: loaded.model.id, used, limitBytes }, 'models take more memory than they may');
    const seats = this.#options.slots().map(({ seat }) => seat);
    const others = seats.filter((seat) => seat !== loaded.seat && seat.mayLeave && !seat.pinned);
    const oldest = others.sort((a, b) => a.lastUsed - b.lastUsed);
    for (const seat of oldest) if (this.usedBytes > limitBytes) await seat.unload();
  }

  /** What must happen before `slot` can be loaded. A model of the owner that the machine's estimate has no room for is
   *  tried all the same, alone, where that leaves the system enough. */
  #placementOf(slot: ModelSlot): Placement {
    const { budget, maxLoadedModels: maxModels } = this.#options;
    const residents = this.#residentsBeside(slot);
    const kept = residents.filter(({ pinned }) => pinned).reduce((sum, { bytes }) => sum + bytes, 0);
    const most = budget.limitBytes - kept;
    const { bytes, wantedBy } = slot.seat;
    const mayTry = wantedBy === 'owner' && bytes + kept <= budget.tryBytes;
    const needed = mayTry ? Math.min(bytes, most) : bytes;
    return placementFor(needed, { limitBytes: budget.limitBytes, maxModels }, residents);
  }

  /** Who is in memory, and who is to stay there though it is not there yet. */
  #residentsBeside(slot: ModelSlot): Resident[] {
    const others = this.#options.slots().filter((other) => other !== slot);
    return others
      .filter(({ seat }) => seat.inMemory || (seat.pinned && !slot.seat.pinned))
      .map(({ seat }) => ({
        id: seat.model.id,
        bytes: seat.bytes,
        busy: seat.inMemory && !seat.mayLeave,
        pinned: seat.pinned,
        lastUsed: seat.lastUsed,
      }));
  }

  /** Why `slot` is not loaded now, with the sums and, where it depends on others, when to come again. */
  refusal(slot: ModelSlot): DarkbloomError {
    const { budget, maxLoadedModels } = this.#options;
    const placement = this.#placementOf(slot);
    const residents = this.#residentsBeside(slot);
    const { bytes } = slot.seat;
    const free = budget.limitBytes - residents.reduce((sum, { bytes }) => sum + bytes, 0);
    const why =
      placement.kind === 'fits'
        ? 'another model is being loaded'
        : bytes <= free && residents.length >= maxLoadedModels
          ? `engine.max_loaded_models is ${maxLoadedModels} and ${residents.length} are in use`
          : `it needs ${gib(bytes)} GiB, ${gib(Math.max(0, free))} of ${gib(budget.limitBytes)} GiB are free` +
            (placement.kind === 'never' ? whose(residents, budget) : ' and busy models keep the rest');
    const waits = placement.kind === 'wait' ? placement.waitFor.map((id) => this.#find(id)?.untilIdleS ?? 0) : [];
    return new DarkbloomError(
      'insufficient_memory',
      `insufficient memory to load model '${slot.model.alias}': ${why}.`,
      waits.length === 0 ? {} : { retryAfterS: Math.max(...waits) },
    );
  }
}

function rank(slot: ModelSlot): number {
  return slot.seat.wantedBy === 'owner' ? 0 : 1;
}

function whose(residents: readonly Resident[], budget: MemoryBudget): string {
  const kept = residents.filter(({ pinned }) => pinned).length;
  const keep = kept === 0 ? '' : `, models.keep_loaded keeps ${kept} of the models there`;
  return `${keep} (${limitOrigin(budget)})`;
}
