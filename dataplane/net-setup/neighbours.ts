import { tunOfTable } from './gateway-names.ts';
import { acceptsByInterface, readForwardDrops, readInterfaceSets, type ForeignChain } from './nftables.ts';
import { LEAVING_SET, SWITCHED_SET } from './rule-set.ts';

/**
 * Interfaces that other running gateways of this machine want to forward, although they did not before. Whoever leaves
 * last switches them off.
 *
 * @param linkNames of this machine; a gateway runs if its TUN is there
 */
export async function claimsOfOthers(ourTable: string, linkNames: readonly string[]): Promise<ReadonlySet<string>> {
  const sets = await readInterfaceSets();
  const leaving = sets.filter(({ name }) => name === LEAVING_SET).map(({ table }) => table);
  const claims = sets.filter(
    ({ table, name }) =>
      name === SWITCHED_SET &&
      table !== ourTable &&
      linkNames.includes(tunOfTable(table) ?? '') &&
      !leaving.includes(table),
  );
  return new Set(claims.flatMap(({ elements }) => elements));
}

/**
 * Chains of others, such as Docker's, that drop forwarded packets unless a rule accepts them, and have none for our TUN.
 * In nftables a packet has to pass the chains of all tables.
 */
export async function chainsInTheWay(tun: string): Promise<readonly ForeignChain[]> {
  const found: ForeignChain[] = [];
  for (const chain of await readForwardDrops()) if (!(await acceptsByInterface(chain, tun))) found.push(chain);
  return found;
}
