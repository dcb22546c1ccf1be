import type { Connection } from '../../api/connection.ts';
import type { PeerTraffic } from '../data-channel.ts';
import type { ConnectionFacts } from './engine-io.ts';

/** What never changes while an endpoint is served on one target network. */
export interface HistoryPlace {
  readonly endpoint: string;
  readonly targetNetwork: string;
}

interface EndedConnection {
  readonly connection: Connection;
  readonly until: number;
}

export interface HistoryLimits {
  readonly endedConnections: number;
  readonly failedConnections: number;
  readonly historyMs: number;
}

/** Remembers ended and failed connections for a while, within bounds; the oldest makes room. */
export class ConnectionHistory {
  readonly #limits: HistoryLimits;
  readonly #ended: Set<EndedConnection> = new Set();
  readonly #failed: Set<EndedConnection> = new Set();

  constructor(limits: HistoryLimits) {
    this.#limits = limits;
  }

  addEnded(connection: Connection, now: number): void {
    add(this.#ended, { connection, until: now + this.#limits.historyMs }, this.#limits.endedConnections);
  }

  addFailed(connection: Connection, now: number): void {
    add(this.#failed, { connection, until: now + this.#limits.historyMs }, this.#limits.failedConnections);
  }

  /** Oldest first, failed attempts after ended connections. */
  list(now: number): readonly Connection[] {
    dropExpired(this.#ended, now);
    dropExpired(this.#failed, now);
    return [...this.#ended, ...this.#failed].map(({ connection }) => connection);
  }

  /** How many are remembered now, for a metric that shows the bounds. */
  get sizes(): { readonly ended: number; readonly failed: number } {
    return { ended: this.#ended.size, failed: this.#failed.size };
  }
}

/** @param times milliseconds since 1970, null while unknown. */
export function connectionFrom(
  place: HistoryPlace,
  facts: ConnectionFacts,
  outcome: {
    readonly status: Connection['status'];
    readonly establishedMs: number | null;
    readonly endedMs: number | null;
    readonly endReason: string | null;
  },
  traffic: PeerTraffic | undefined,
): Connection {
  return {
    connectionId: facts.connectionId,
    endpoint: place.endpoint,
    targetNetwork: place.targetNetwork,
    status: outcome.status,
    username: facts.username,
    commonName: facts.commonName,
    groups: facts.groups,
    clientIp: facts.clientIp,
    remote: facts.remote,
    transport: facts.transport,
    cipher: facts.cipher,
    ingressBytes: traffic?.ingressBytes ?? 0,
    egressBytes: traffic?.egressBytes ?? 0,
    ingressPackets: traffic?.ingressPackets ?? 0,
    egressPackets: traffic?.egressPackets ?? 0,
    establishedTime: timeText(outcome.establishedMs),
    endTime: timeText(outcome.endedMs),
    endReason: outcome.endReason,
  };
}

function timeText(unixMs: number | null): string | null {
  return unixMs === null ? null : new Date(unixMs).toISOString();
}

function add(set: Set<EndedConnection>, entry: EndedConnection, limit: number): void {
  set.add(entry);
  for (const oldest of set) {
    if (set.size <= limit) return;
    set.delete(oldest);
  }
}

function dropExpired(set: Set<EndedConnection>, now: number): void {
  for (const entry of set) {
    if (entry.until > now) return;
    set.delete(entry);
  }
}
