/** Most objects that are accepted. An administrator's to raise, not the endpoint's owner's. */
export interface Quotas {
  /** Per endpoint. */
  readonly 'authorization-rules': number;
  /** Per endpoint; automatic routes are not counted. */
  readonly routes: number;
  /** Per namespace. */
  readonly endpoints: number;
}

export type QuotaName = keyof Quotas;

export const DEFAULT_QUOTAS: Quotas = { 'authorization-rules': 50, routes: 10, endpoints: 5 };

export function isQuotaName(name: string): name is QuotaName {
  return Object.hasOwn(DEFAULT_QUOTAS, name);
}

/** Concurrent connections by number of associated target networks, from one. */
const CONNECTIONS = [20_000, 36_500, 66_500, 96_500, 126_000];

/** The guide's table, bounded by the addresses that the client network has for clients. */
export function maxConnections(targetNetworks: number, clientAddresses: number): number {
  if (targetNetworks === 0) return 0;
  const byNetworks = CONNECTIONS[Math.min(targetNetworks, CONNECTIONS.length) - 1] ?? 0;
  return Math.min(byNetworks, clientAddresses);
}
