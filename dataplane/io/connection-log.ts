import type { PeerTraffic } from '../data-channel.ts';
import type { ConnectionFacts, EngineEvent } from '../sessions/engine-io.ts';

export interface ConnectionLogConfig {
  readonly enabled: boolean;
  readonly endpointId: string;
  /** Whether users log in by name: without it there is no user name to record. */
  readonly userLogin: boolean;
  /** Names that a reader sorts the lines by; lines carry none unless one is set. */
  readonly group: string | null;
  readonly stream: string | null;
}

/**
 * The connection log: one JSON line per attempt that succeeded or failed and per end, with exactly
 * the guide's keys, every value text, `NA` where there is none; behind them, where one is set, group and stream, which
 * the guide has beside the line. Writes nothing while disabled.
 */
export class ConnectionLog {
  readonly #write: (line: string) => void;
  /** Milliseconds since 1970. */
  readonly #now: () => number;
  #config: ConnectionLogConfig = {
    enabled: false,
    endpointId: '',
    userLogin: false,
    group: null,
    stream: null,
  };

  constructor(options: { readonly write: (line: string) => void; readonly now: () => number }) {
    this.#write = options.write;
    this.#now = options.now;
  }

  configure(config: ConnectionLogConfig): void {
    this.#config = config;
  }

  onEvent(event: EngineEvent): void {
    const now = this.#now();
    switch (event.kind) {
      case 'connected':
        this.#line(event.connection, { ...ATTEMPT, 'connection-attempt-status': 'successful' }, now, null, null);
        return;
      case 'connectionAttemptChallenged':
        this.#line(
          event.connection,
          { ...ATTEMPT, 'connection-attempt-status': 'waiting-for-assertion' },
          now,
          null,
          null,
        );
        return;
      case 'connectionAttemptFailed':
        this.#line(
          event.connection,
          { ...ATTEMPT, 'connection-attempt-status': 'failed', 'connection-attempt-failure-reason': event.reason },
          now,
          null,
          null,
        );
        return;
      case 'disconnected':
        this.#line(event.connection, RESET, event.establishedMs, event.endedMs, event.traffic);
        return;
      case 'renewed':
      case 'floated':
      case 'certificateRefused':
      case 'refused':
      case 'handshakeFailed':
      case 'drained':
        return;
    }
  }

  #line(
    facts: ConnectionFacts,
    kind: Readonly<Record<string, string>>,
    startedAt: number,
    endedAt: number | null,
    traffic: PeerTraffic | null,
  ): void {
    if (!this.#config.enabled) return;
    const { address, port } = splitRemote(facts.remote);
    const entry = {
      ...kind,
      'connection-id': facts.connectionId,
      'client-vpn-endpoint-id': this.#config.endpointId,
      'transport-protocol': facts.transport,
      'connection-start-time': timeText(startedAt),
      'connection-last-update-time': timeText(this.#now()),
      'client-ip': textOrNone(facts.clientIp),
      'common-name': textOrNone(facts.commonName),
      'device-type': textOrNone(facts.client.platform),
      'device-ip': textOrNone(address),
      port: textOrNone(port),
      'ingress-bytes': String(traffic?.ingressBytes ?? 0),
      'egress-bytes': String(traffic?.egressBytes ?? 0),
      'ingress-packets': String(traffic?.ingressPackets ?? 0),
      'egress-packets': String(traffic?.egressPackets ?? 0),
      'connection-end-time': endedAt === null ? NONE : timeText(endedAt),
      'posture-compliance-statuses': NONE,
      username: this.#config.userLogin ? textOrNone(facts.username) : NONE,
      'connection-duration-seconds':
        endedAt === null ? NONE : String(Math.max(0, Math.floor(endedAt / 1000) - Math.floor(startedAt / 1000))),
      ...this.#whereTo(),
    };
    this.#write(`${JSON.stringify(entry)}\n`);
  }

  #whereTo(): Readonly<Record<string, string>> {
    const { group, stream, endpointId } = this.#config;
    if (group === null && stream === null) return {};
    const date = timeText(this.#now()).slice(0, 10);
    return { 'log-group': textOrNone(group), 'log-stream': stream ?? `${endpointId}/${date}` };
  }
}

/** Splits `address:port`, IPv6 addresses in brackets. */
function splitRemote(remote: string): { readonly address: string; readonly port: string } {
  const colon = remote.lastIndexOf(':');
  if (colon < 0) return { address: remote, port: '' };
  return { address: remote.slice(0, colon).replace(/^\[|\]$/g, ''), port: remote.slice(colon + 1) };
}

/** UTC, `YYYY-MM-DD HH:MM:SS`. */
function timeText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
}

function textOrNone(text: string | null): string {
  return text === null || text === '' ? NONE : text;
}

const NONE = 'NA';
const ATTEMPT = {
  'connection-log-type': 'connection-attempt',
  'connection-attempt-status': NONE,
  'connection-reset-status': NONE,
  'connection-attempt-failure-reason': NONE,
};
const RESET = { ...ATTEMPT, 'connection-log-type': 'connection-reset' };
