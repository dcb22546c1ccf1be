import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isGatewayTun } from './gateway-names.ts';

/**
 * What a look at /proc says: an rtnetlink dump every half second would cost a hundred times more.
 * `off`: interfaces we are responsible for that do not forward.
 */
export interface ForwardingView {
  readonly tunExists: boolean;
  readonly off: readonly string[];
}

export async function viewForwarding(tun: string): Promise<ForwardingView> {
  const names = (await readdir(CONF)).filter((name) => name === tun || isOurConcern(name));
  const off: string[] = [];
  for (const name of names) {
    const value = await readFile(join(CONF, name, 'forwarding'), 'utf8').catch(goneMeanwhile);
    if (value.trim() === '0') off.push(name);
  }
  return { tunExists: names.includes(tun), off };
}

/** Interfaces to switch on: all but loopback and the tunnels of other gateways, who look after theirs. */
export function isOurConcern(name: string): boolean {
  return name !== 'lo' && name !== 'all' && name !== 'default' && !isGatewayTun(name);
}

function goneMeanwhile(cause: NodeJS.ErrnoException): string {
  if (cause.code === 'ENOENT' || cause.code === 'EINVAL') return '';
  throw cause;
}

const CONF = '/proc/sys/net/ipv4/conf';
