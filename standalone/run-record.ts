import { tunOfTable } from '../dataplane/net-setup/gateway-names.ts';
import type { NetSetupRecord, SwitchedInterface } from '../dataplane/net-setup/net-setup.ts';
import { processIdentity, type ProcessIdentity } from './process-identity.ts';
import type { StateFolder } from './state-folder.ts';

/** What is to be undone should this run be killed. Null where nothing is yet. */
export interface RunRecord {
  readonly formatVersion: 1;
  /** Whose run it is. */
  readonly gateway: ProcessIdentity | null;
  readonly network: NetSetupRecord | null;
  readonly dataPlane: ProcessIdentity | null;
}

export const RUN_RECORD_FILE = 'run.json';

/** The record of the present run in the state folder, kept up to date before each step. */
export class RunRecorder {
  readonly #folder: StateFolder;
  #record: RunRecord = {
    formatVersion: 1,
    gateway: processIdentity(process.pid) ?? null,
    network: null,
    dataPlane: null,
  };

  constructor(folder: StateFolder) {
    this.#folder = folder;
  }

  set(change: Partial<Pick<RunRecord, 'network' | 'dataPlane'>>): void {
    const next = { ...this.#record, ...change };
    this.#folder.write(RUN_RECORD_FILE, `${JSON.stringify(next)}\n`);
    this.#record = next;
  }

  clear(): void {
    forgetRecord(this.#folder);
  }
}

/** After everything it names has been undone. */
export function forgetRecord(folder: StateFolder): void {
  folder.remove(RUN_RECORD_FILE);
}

/** What the last run left behind; null after an orderly end. `unreadable`: there is a record, but not a whole one. */
export function leftRecord(folder: StateFolder): RunRecord | null | 'unreadable' {
  const text = folder.read(RUN_RECORD_FILE);
  if (text === undefined) return null;
  try {
    const record: unknown = JSON.parse(text);
    return isRunRecord(record) ? record : 'unreadable';
  } catch {
    return 'unreadable';
  }
}

function isRunRecord(value: unknown): value is RunRecord {
  if (!isObject(value) || value['formatVersion'] !== 1) return false;
  const { gateway, network, dataPlane } = value;
  return (
    (network === null || isNetSetupRecord(network)) &&
    [gateway, dataPlane].every((process) => process === null || isProcessIdentity(process))
  );
}

/** The name of the table becomes part of a script, so it has to be one of ours. */
function isNetSetupRecord(value: unknown): value is NetSetupRecord {
  if (!isObject(value) || !Array.isArray(value['switched']) || typeof value['table'] !== 'string') return false;
  const texts = [value['tun'], value['bootId'], value['networkNamespace']];
  return (
    tunOfTable(value['table']) !== undefined &&
    texts.every((text) => typeof text === 'string') &&
    value['switched'].every(isSwitchedInterface)
  );
}

function isSwitchedInterface(value: unknown): value is SwitchedInterface {
  return isObject(value) && typeof value['name'] === 'string' && isPositiveInteger(value['index']);
}

/** It may be killed: 0 and −1 would be more than one process. */
function isProcessIdentity(value: unknown): value is ProcessIdentity {
  return isObject(value) && isPositiveInteger(value['pid']) && typeof value['startTime'] === 'string';
}

function isPositiveInteger(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
