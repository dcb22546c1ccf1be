import type { NetSetupRecord } from '../dataplane/net-setup/net-setup.ts';
import type { ProcessIdentity } from './process-identity.ts';
import type { StateFolder } from './state-folder.ts';

/** What is to be undone should this run be killed. Null where nothing is yet. */
export interface RunRecord {
  readonly formatVersion: 1;
  readonly network: NetSetupRecord | null;
  readonly dataPlane: ProcessIdentity | null;
}

const FILE = 'run.json';

/** The record of the present run in the state folder, kept up to date before each step. */
export class RunRecorder {
  readonly #folder: StateFolder;
  #record: RunRecord = { formatVersion: 1, network: null, dataPlane: null };

  constructor(folder: StateFolder) {
    this.#folder = folder;
  }

  set(change: Partial<Pick<RunRecord, 'network' | 'dataPlane'>>): void {
    const next = { ...this.#record, ...change };
    this.#folder.write(FILE, `${JSON.stringify(next)}\n`);
    this.#record = next;
  }

  clear(): void {
    forgetRecord(this.#folder);
  }
}

/** After everything it names has been undone. */
export function forgetRecord(folder: StateFolder): void {
  folder.remove(FILE);
}

/** What the last run left behind; null after an orderly end. `unreadable`: there is a record, but not a whole one. */
export function leftRecord(folder: StateFolder): RunRecord | null | 'unreadable' {
  const text = folder.read(FILE);
  if (text === undefined) return null;
  try {
    const record = JSON.parse(text) as RunRecord;
    return record.formatVersion === 1 ? record : 'unreadable';
  } catch {
    return 'unreadable';
  }
}
