import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Opcode } from '../../dataplane/protocol/opcode.ts';
import { LogLines } from './log-lines.ts';
import { GATEWAY_ADDRESS, type Lab } from './netns.ts';
import type { RelayPlan } from './udp-relay-main.ts';

/** Packets on the way between clients and gateway that a rule applies to. */
export type Traffic =
  | 'all'
  /** What is not DATA_V2: handshakes, renewals, messages. */
  | 'control';

/** Drops this share of the packets, both ways, in the router between clients and gateway. */
export function losePackets(lab: Lab, percent: number, traffic: Traffic = 'all'): void {
  // The opcode is the upper five bits of the first byte behind the UDP header.
  const isControl = traffic === 'control' ? '@th,64,5 != 9' : '';
  for (const direction of ['sport', 'dport'])
    addRule(lab, `udp ${direction} 1194 ${isControl} numgen random mod 100 < ${percent} drop`);
}

/** Drops what clients send to acknowledge, and nothing else, under this key id. */
export function loseAcknowledgements(lab: Lab, keyId: number): void {
  addRule(lab, `udp dport 1194 @th,64,8 == ${(Opcode.AckV1 << 3) | keyId} drop`);
}

/** Drops packets above this size without a word: no ICMP tells anybody. */
export function swallowLargePackets(lab: Lab, maxIpBytes: number): void {
  addRule(lab, `ip length > ${maxIpBytes} drop`);
}

/** Lets no more than this through towards the clients; a short queue drops the rest. */
export function limitRate(lab: Lab, megabitsPerSecond: number): void {
  const rate = `${megabitsPerSecond}mbit`;
  lab.wan.must('tc', 'qdisc', 'replace', 'dev', 'br0', 'root', 'tbf', 'rate', rate, 'burst', '16kb', 'latency', '60ms');
}

export function healNetwork(lab: Lab): void {
  lab.wan.run('nft', 'delete', 'table', 'ip', TABLE);
}

/** A relay in the router that delays, reorders and doubles. Clients use its address as their remote. */
export class UdpRelay {
  readonly #child: ChildProcess;
  readonly #log = new LogLines();

  private constructor(lab: Lab, plan: RelayPlan) {
    this.#child = lab.wan.spawn(process.execPath, [PROGRAM, JSON.stringify(plan)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (this.#child.stdout !== null) this.#log.add(this.#child.stdout);
  }

  static async start(lab: Lab, plan: Omit<RelayPlan, 'host' | 'port'>): Promise<UdpRelay> {
    const relay = new UdpRelay(lab, { ...plan, host: GATEWAY_ADDRESS, port: 1194 });
    await relay.#log.waitFor(/ready/);
    return relay;
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

/** Where the relay listens. */
export const RELAY_ADDRESS = '10.99.0.254';

const TABLE = 'bad_network';
const PROGRAM = fileURLToPath(new URL('udp-relay-main.ts', import.meta.url));

function addRule(lab: Lab, rule: string): void {
  lab.wan.must('nft', 'add', 'table', 'ip', TABLE);
  lab.wan.must('nft', `add chain ip ${TABLE} forward { type filter hook forward priority 0; }`);
  lab.wan.must('nft', `add rule ip ${TABLE} forward ${rule}`);
}
