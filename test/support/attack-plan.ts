/** What a hostile process does to a gateway, and for how long. */
export type AttackPlan = {
  readonly host: string;
  readonly port: number;
  readonly seconds: number;
} & Attack;

export type Attack =
  /** Session openings from these addresses, each with a session id of its own. */
  | { readonly kind: 'resets'; readonly sources: readonly string[]; readonly perSecond: number }
  /** Handshakes that prove their address and then say nothing; one socket each. */
  | { readonly kind: 'halfOpen'; readonly sources: readonly string[]; readonly perSource: number }
  /** Random bytes and torn openings. */
  | { readonly kind: 'garbage'; readonly perSecond: number }
  /** One login with a wrong password from each of these addresses, all at once; over when all are refused. */
  | { readonly kind: 'guess'; readonly sources: readonly string[]; readonly username: string; readonly ca: string }
  /** TCP connections that say hello and then send acknowledgements of nothing, as fast as they are taken. */
  | { readonly kind: 'babble'; readonly source: string; readonly connections: number }
  /** TCP connections that send these bytes slowly, one at a time, and then wait. */
  | {
      readonly kind: 'tcp';
      readonly connections: number;
      /** Addresses that they come from in turn; absent: the attacker's own. */
      readonly sources?: readonly string[];
      readonly manner: 'silent' | 'bytewise' | 'jumbo' | 'zero' | 'random';
    }
  | ({ readonly transport: 'udp' | 'tcp'; readonly profile: string } & LoggedInAttack);

/** What a client with a certificate can do. */
export type LoggedInAttack =
  /** Sends everything it ever sent again and again, from its own address and from another port. */
  | { readonly kind: 'replay'; readonly perSecond: number }
  | { readonly kind: 'garbageInsideTls'; readonly bytes: number }
  /** Sends one packet to each of so many destinations, allowed ones and others. */
  | { readonly kind: 'flows'; readonly count: number; readonly allowed: string; readonly refused: string }
  | { readonly kind: 'renewals'; readonly perSecond: number }
  | { readonly kind: 'pushRequests'; readonly perSecond: number }
  /** Asks the host for a stream of packets and stops reading, or stops acknowledging. */
  | { readonly kind: 'deaf'; readonly source: string };

export interface AttackFindings {
  readonly sent: number;
  readonly received: number;
  /** Bytes that an answer was longer than what it answered; the most of all. */
  readonly growthBytesMax: number;
  /** Answers to the most answered opening. */
  readonly answersToOneMax: number;
  /** Answers within the busiest second, to one /24 and to all. */
  readonly answersPerNetworkMax: number;
  readonly answersPerSecondMax: number;
  readonly connected: boolean;
  readonly closed: string | null;
  /** Control messages heard, connections refused or cut, ICMP refusals; by name. */
  readonly counts: Readonly<Record<string, number>>;
}
