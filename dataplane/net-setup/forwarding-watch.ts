import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isGatewayTun } from './gateway-names.ts';

/**
 * What a look at /proc says: an rtnetlink dump with every change on the machine would cost a hundred times more.
 * `off`: interfaces we are responsible for that do not forward.
 */
export interface ForwardingView {
  readonly tunExists: boolean;
  readonly off: readonly string[];
}

export function viewForwarding(tun: string): ForwardingView {
  const names = readdirSync(CONF).filter((name) => name === tun || isOurConcern(name));
  return { tunExists: names.includes(tun), off: names.filter((name) => readSetting(name) === '0') };
}

export function interfaceExists(name: string): boolean {
  return existsSync(join(CONF, name));
}

/** Interfaces to switch on: all but loopback and the tunnels of other gateways, who look after theirs. */
export function isOurConcern(name: string): boolean {
  return name !== 'lo' && name !== 'all' && name !== 'default' && !isGatewayTun(name);
}

/** @returns undefined for an interface that has just gone. */
function readSetting(name: string): string | undefined {
  try {
    return readFileSync(join(CONF, name, 'forwarding'), 'utf8').trim();
  } catch (error) {
    if (['ENOENT', 'EINVAL', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

const CONF = '/proc/sys/net/ipv4/conf';
