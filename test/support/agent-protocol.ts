/** What a test may ask of an agent; one JSON line each, answered by one line with the same id. */
export type AgentRequest =
  /** One HTTP GET; the target answers with the address it saw. */
  | { readonly kind: 'fetch'; readonly host: string; readonly port: number; readonly timeoutMs: number }
  /** Starts an endless TCP download and keeps count. */
  | {
      readonly kind: 'download';
      readonly host: string;
      readonly port: number;
      readonly bytesPerSecond: number;
    }
  /** Starts a UDP stream of numbered 200-byte packets towards the host. */
  | { readonly kind: 'sendStream'; readonly host: string; readonly port: number; readonly perSecond: number }
  /** Asks the target's source port for a UDP stream towards us; after the one request nothing is sent. */
  | { readonly kind: 'receiveStream'; readonly host: string; readonly port: number }
  /** One UDP echo of this many bytes of payload. */
  | {
      readonly kind: 'echo';
      readonly host: string;
      readonly port: number;
      readonly bytes: number;
      readonly timeoutMs: number;
    }
  | { readonly kind: 'flow'; readonly flow: number }
  | { readonly kind: 'stopFlow'; readonly flow: number }
  /** Serves HTTP on every address, UDP echo, sink and source on these. */
  | { readonly kind: 'serve'; readonly addresses: readonly string[] }
  /** UDP packets that arrived at the sink, by source address. */
  | { readonly kind: 'sunk' };

export interface FetchResult {
  /** The source address as the target saw it; null when nothing came back. */
  readonly seenAs: string | null;
  /** `EHOSTUNREACH` for an ICMP refusal, `TIMEOUT` for silence; null when it worked. */
  readonly error: string | null;
  readonly seconds: number;
}

export interface FlowState {
  readonly bytes: number;
  readonly packets: number;
  readonly highestNumber: number;
  readonly ended: boolean;
}

export const ServicePort = { http: 80, echo: 7, sink: 9, source: 19 } as const;
