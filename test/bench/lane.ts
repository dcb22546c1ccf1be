import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GATEWAY_ADDRESS, Namespace } from '../support/netns.ts';
import { LAB_PREFIX, removeFolder, removeNamespace } from '../support/sweep.ts';

/** The same addresses in every lane, since lanes do not know each other. */
export const SERVER_ADDRESS = GATEWAY_ADDRESS;
export const TARGET_ADDRESS = '192.168.0.10';
export const TARGET_NETWORK = '192.168.0.0/24';

/**
 * The network of one contender, apart from every other's:
 *
 *   client 1, client 2 ──── gateway ──── target
 *   10.99.1.2  10.99.2.2    10.98.0.1    192.168.0.10
 *
 * The target has no route to the tunnel's addresses: every contender translates.
 */
export class Lane {
  readonly gateway: Namespace;
  readonly target: Namespace;
  readonly clients: readonly [Namespace, Namespace];
  /** Removed with the lane. */
  readonly folder: string;
  readonly #stack = new DisposableStack();

  constructor(name: string) {
    const prefix = `${LAB_PREFIX}${process.pid}-${name}`;
    this.folder = mkdtempSync(join(tmpdir(), `${prefix}-`));
    this.#stack.defer(() => removeFolder(this.folder));
    this.gateway = this.#add(`${prefix}-gateway`);
    this.target = this.#add(`${prefix}-target`);
    this.clients = [this.#add(`${prefix}-client1`), this.#add(`${prefix}-client2`)];
    this.gateway.setKernel('net.ipv4.ip_forward=1');
    this.gateway.ip(
      `link add lan0 type veth peer name lan0 netns ${this.target.name}`,
      'link set lan0 up',
      'addr add 192.168.0.1/24 dev lan0',
    );
    this.target.ip('link set lan0 up', `addr add ${TARGET_ADDRESS}/24 dev lan0`);
    for (const [index, client] of this.clients.entries()) {
      const address = `10.99.${index + 1}.2`;
      this.gateway.ip(
        `link add wan${index} type veth peer name wan0 netns ${client.name}`,
        `link set wan${index} up`,
        `addr add ${SERVER_ADDRESS}/32 dev wan${index}`,
        `route add ${address} dev wan${index} src ${SERVER_ADDRESS} congctl ${CONGESTION_CONTROL}`,
      );
      client.ip(
        'link set wan0 up',
        `addr add ${address}/32 dev wan0`,
        `route add ${SERVER_ADDRESS} dev wan0 congctl ${CONGESTION_CONTROL}`,
        `route add default via ${SERVER_ADDRESS}`,
      );
    }
  }

  /** Translates what leaves for the target, for contenders that do not do it themselves. */
  translate(): void {
    this.gateway.must('nft', 'add table ip nat; add chain ip nat post { type nat hook postrouting priority srcnat; }');
    this.gateway.must('nft', 'add rule ip nat post oifname lan0 masquerade');
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #add(name: string): Namespace {
    execFileSync('ip', ['netns', 'add', name]);
    this.#stack.defer(() => removeNamespace(name));
    const namespace = new Namespace(name);
    namespace.ip('link set lo up');
    return namespace;
  }
}

/** Of the tunnel's TCP and of the TCP inside: Linux's own default, whatever this machine has been set to. */
export const CONGESTION_CONTROL = process.env['BENCH_CONGESTION_CONTROL'] ?? 'cubic';
