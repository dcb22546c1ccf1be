import type { Remote } from '../../dataplane/sessions/engine-io.ts';
import type { ClientConfig, ClientInput, ClientOutput } from './client-io.ts';
import type { PushedSettings } from './client-push.ts';
import { ClientMachine } from './openvpn-client.ts';
import { PassThroughTls, type PassThroughClient } from './pass-through-tls.ts';
import type { SimulatedWorld } from './simulated-world.ts';
import type { TimedMachine } from './virtual-clock.ts';

export interface SimulatedClientParts {
  readonly world: SimulatedWorld;
  readonly remote: Remote;
  readonly tls: PassThroughClient;
  readonly config: ClientConfig;
}

/** A ClientMachine on the simulated network. */
export class SimulatedClient implements TimedMachine {
  readonly machine: ClientMachine;
  remote: Remote;
  /** How TLS behaves at the next handshake. */
  tlsClient: PassThroughClient;
  /** Control messages heard, and inner packets. */
  readonly messages: string[] = [];
  readonly inner: Uint8Array[] = [];
  /** Packets sent, and control or data packets that came. */
  readonly sent: Uint8Array[] = [];
  readonly received: Uint8Array[] = [];
  settings: PushedSettings | undefined;
  closed: string | undefined;
  isMute = false;
  readonly #world: SimulatedWorld;
  readonly #tls: PassThroughTls;
  readonly config: ClientConfig;

  constructor(parts: SimulatedClientParts) {
    this.#world = parts.world;
    this.remote = parts.remote;
    this.tlsClient = parts.tls;
    this.config = parts.config;
    this.machine = new ClientMachine(parts.config);
    this.#tls = new PassThroughTls(parts.world.clock, (event) => this.handle(event));
  }

  start(): void {
    if (this.remote.kind === 'tcp') this.#world.feed({ kind: 'transportOpened', remote: this.remote });
    this.handle({ kind: 'connect' });
  }

  handle(input: ClientInput): void {
    for (const output of this.machine.handle(input, this.#world.clock.now)) this.#carryOut(output);
  }

  receive(bytes: Uint8Array): void {
    this.received.push(bytes);
    this.handle({ kind: 'datagram', bytes });
  }

  /** Sends bytes of the test's choice from this client's address. */
  sendRaw(bytes: Uint8Array): void {
    const { remote } = this;
    this.#world.up.send(bytes, (arrived) => this.#world.receive(remote, arrived));
  }

  nextDeadline(): number | undefined {
    return this.isMute ? undefined : this.machine.nextDeadline();
  }

  onDeadline(): void {
    this.handle({ kind: 'deadline' });
  }

  #carryOut(output: ClientOutput): void {
    switch (output.kind) {
      case 'transmit':
        this.sent.push(output.bytes);
        if (!this.isMute) this.sendRaw(output.bytes);
        return;
      case 'tlsStart':
        this.#tls.openClient(output.tls, this.tlsClient, this.config.random(32));
        return;
      case 'tlsInput':
        this.#tls.input(output.tls, output.bytes);
        return;
      case 'tlsWrite':
        this.#tls.write(output.tls, output.bytes);
        return;
      case 'tlsClose':
        this.#tls.close(output.tls);
        return;
      case 'message':
        this.messages.push(output.text);
        return;
      case 'inner':
        this.inner.push(output.bytes);
        return;
      case 'connected':
        this.settings = output.settings;
        return;
      case 'dataKey':
        return;
      case 'closed':
        this.closed = output.reason;
    }
  }
}
