import { setTimeout as delay } from 'node:timers/promises';
import { gatewayNames } from '../dataplane/net-setup/gateway-names.ts';
import { recoverNetSetup, removeRules } from '../dataplane/net-setup/net-setup.ts';
import { isAlive, type ProcessIdentity } from './process-identity.ts';
import { forgetRecord, leftRecord, type RunRecord } from './run-record.ts';
import type { StateFolder } from './state-folder.ts';
import { DATA_PLANE_END_MS, GOODBYE_MS } from './stop-limits.ts';

/**
 * Undoes what a killed run of this state folder left behind; the caller holds the folder's lock.
 *
 * @returns what was found, for the log; null after an orderly end
 */
export async function recoverLastRun(folder: StateFolder): Promise<string | null> {
  const record = leftRecord(folder);
  if (record === null) return null;
  if (record === 'unreadable') {
    await removeRules(gatewayNames(folder.path).table);
    forgetRecord(folder);
    return 'a damaged record: the nft table was removed, forwarding was left as it is';
  }
  if (isOfRunningGateway(record, folder)) {
    forgetRecord(folder);
    return null;
  }
  const ended = record.dataPlane === null ? false : await endProcess(record.dataPlane);
  const undone = record.network === null ? false : await recoverNetSetup(record.network, folder.path);
  forgetRecord(folder);
  return [ended ? 'its data plane' : '', undone ? 'its network settings' : ''].filter((part) => part !== '').join(', ');
}

/** Whether the folder is a copy, and the gateway of the original still runs: nothing of it is left behind. */
function isOfRunningGateway({ gateway, network }: RunRecord, folder: StateFolder): boolean {
  const isOfAnotherFolder = network !== null && network.tun !== gatewayNames(folder.path).tun;
  return isOfAnotherFolder && gateway !== null && isAlive(gateway);
}

/** The data plane says goodbye and ends by itself when its parent is gone; one that hangs is killed. */
async function endProcess(identity: ProcessIdentity): Promise<boolean> {
  if (!isAlive(identity)) return false;
  for (let waited = 0; waited < GOODBYE_MS + DATA_PLANE_END_MS && isAlive(identity); waited += LOOK_MS)
    await delay(LOOK_MS);
  if (!isAlive(identity)) return true;
  process.kill(identity.pid, 'SIGKILL');
  while (isAlive(identity)) await delay(LOOK_MS);
  return true;
}

const LOOK_MS = 50;
