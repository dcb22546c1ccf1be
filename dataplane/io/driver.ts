import type { Connection } from '../../api/connection.ts';
import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import { InternalError } from '../../net/errors.ts';
import type { DataChannelNotification, PeerTraffic, TcpConnectionId } from '../data-channel.ts';
import type { Engine } from '../sessions/engine.ts';
import { remoteText } from '../sessions/peer.ts';
import type { DataChannelCommand, EngineEvent, Input, Instant, Output, Remote } from '../sessions/engine-io.ts';
import type { Authenticator } from '../auth/authenticator.ts';
import { Opcode, opcodeOf } from '../protocol/opcode.ts';
import { udpRemote, type ControlSocket } from './control-socket.ts';
import { LoginDesk } from './login-desk.ts';
import type { NativeAddon } from './native-addon.ts';
import type { TlsEndpoint } from './tls-endpoint.ts';
import type { TunnelHost } from './tunnel-host.ts';

/** What the driver joins. It owns none of it: whoever made a part closes it. */
export interface DriverParts {
  readonly addon: Pick<NativeAddon, 'monotonicMs' | 'formatAddress'>;
  readonly engine: Pick<Engine, 'handle' | 'nextDeadline' | 'connections' | 'drained'>;
  readonly tunnel: Omit<TunnelHost, 'counters' | 'stop' | 'threads'>;
  readonly tls: Pick<TlsEndpoint, 'open' | 'input' | 'write' | 'close'>;
  readonly authenticator: Authenticator;
  /** Null on TCP endpoints. */
  readonly control: Pick<ControlSocket, 'send'> | null;
  readonly onEvent: (event: EngineEvent) => void;
  /** Seconds from a request for a login to its verdict. */
  readonly onLogin: (seconds: number) => void;
  /** An invariant broke. The others' sessions matter more than this one: what failed is dropped and reported. */
  readonly onFault: (error: unknown, input: Input['kind']) => void;
}

/**
 * Joins the pure engine to the world: datagrams, TLS, logins and the tunnel threads become inputs, outputs
 * become calls. Outputs of one input are carried out before the next input is handled.
 */
export class Driver {
  readonly #parts: DriverParts;
  readonly #queue: Input[] = [];
  readonly #tcpRemotes = new Map<TcpConnectionId, Remote>();
  readonly #logins: LoginDesk;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #timerAt = Infinity;
  #policyEpoch = 0;
  #busy = false;
  #stopped = false;

  constructor(parts: DriverParts) {
    this.#parts = parts;
    this.#logins = new LoginDesk({
      authenticator: parts.authenticator,
      feed: (input) => this.feed(input),
      now: () => this.now(),
      onVerdict: parts.onLogin,
    });
    parts.tunnel.onNotification((notification) => this.#onNotification(notification));
  }

  /** Handles one input and everything that follows from it. Inputs raised meanwhile wait their turn. */
  feed(input: Input): void {
    if (this.#stopped) return;
    this.#queue.push(input);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        this.#handle(next);
      }
    } finally {
      this.#busy = false;
    }
    this.#schedule();
  }

  now(): Instant {
    return this.#parts.addon.monotonicMs() as Instant;
  }

  /** Data packets that name no peer were steered here; the tunnel threads know whose address it is. */
  onDatagram(remote: Remote, bytes: Uint8Array): void {
    if (remote.kind === 'udp' && isData(bytes[0])) this.#parts.tunnel.deliverData(bytes, remote.wire);
    else this.feed({ kind: 'datagram', remote, bytes });
  }

  /**
   * @throws TerminalError when the engine refuses the configuration; the last one stays in force.
   * @throws InternalError when the engine has taken it and something that follows from it failed.
   */
  configure(config: DataPlaneConfig): void {
    const input = { kind: 'configChanged', config } as const;
    const faults = this.#carryOutAll(this.#parts.engine.handle(input, this.now()), input.kind);
    this.#schedule();
    // What may not be enforced must not be reported as if it were.
    if (faults.length > 0) throw new InternalError(`Taking it up failed: ${faults.join('; ')}`);
  }

  /** Resolves when every tunnel thread enforces the last policy. */
  async enforced(): Promise<void> {
    await this.#parts.tunnel.policyEnforced(this.#policyEpoch);
  }

  connections(): readonly Connection[] {
    return this.#parts.engine.connections(this.now(), (peerId) => this.traffic(peerId));
  }

  traffic(peerId: number): PeerTraffic | undefined {
    return this.#parts.tunnel.traffic(peerId);
  }

  /** Says goodbye to every client; resolves when all of it has left, or after `limitMs`. */
  async shutdown(limitMs: number): Promise<void> {
    this.feed({ kind: 'shutdown', limitMs });
    const deadline = this.now() + limitMs;
    while (!this.#parts.engine.drained() && this.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20));
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#logins.close();
  }

  #handle(input: Input): void {
    try {
      this.#carryOutAll(this.#parts.engine.handle(input, this.now()), input.kind);
    } catch (error) {
      this.#parts.onFault(error, input.kind);
    }
  }

  /** One input may concern many clients: what fails for one of them is done for the others. @returns what failed */
  #carryOutAll(outputs: readonly Output[], input: Input['kind']): readonly unknown[] {
    const faults: unknown[] = [];
    for (const output of outputs) {
      try {
        this.#carryOut(output);
      } catch (error) {
        faults.push(error);
        this.#parts.onFault(error, input);
      }
    }
    return faults;
  }

  #carryOut(output: Output): void {
    const { tls, tunnel, control } = this.#parts;
    switch (output.kind) {
      case 'transmit':
        if (output.remote.kind === 'tcp') tunnel.transmitTcp(output.remote.connection, output.bytes);
        else control?.send(output.remote, output.bytes);
        return;
      case 'closeTransport':
        if (output.remote.kind === 'tcp') tunnel.closeTcp(output.remote.connection);
        return;
      case 'tlsStart':
        tls.open(output.tls);
        return;
      case 'tlsInput':
        tls.input(output.tls, output.bytes);
        return;
      case 'tlsWrite':
        tls.write(output.tls, output.bytes);
        return;
      case 'tlsClose':
        tls.close(output.tls);
        return;
      case 'authenticate':
        this.#logins.begin(output.request);
        return;
      case 'cancelAuthentication':
        this.#logins.cancel(output.requestId);
        return;
      case 'answerAuthentication':
        this.#logins.answer(output.requestId, output.answer);
        return;
      case 'dataChannel':
        this.#program(output.command);
        return;
      case 'event':
        this.#parts.onEvent(output.event);
        return;
    }
  }

  #program(command: DataChannelCommand): void {
    const { tunnel } = this.#parts;
    switch (command.verb) {
      case 'newPeer':
        tunnel.newPeer(command.peer);
        return;
      case 'setRemote':
        tunnel.setRemote(command.peerId, command.remote);
        return;
      case 'setGroups':
        tunnel.setGroups(command.peerId, command.groups);
        return;
      case 'deletePeer':
        tunnel.deletePeer(command.peerId);
        return;
      case 'newKey':
        tunnel.newKey(command.peerId, command.slot, command.key);
        return;
      case 'swapKeys':
        tunnel.swapKeys(command.peerId);
        return;
      case 'deleteKey':
        tunnel.deleteKey(command.peerId, command.keyId);
        return;
      case 'setPolicy':
        this.#policyEpoch = command.policy.epoch;
        tunnel.setPolicy(command.policy);
        return;
    }
  }

  #onNotification(notification: DataChannelNotification): void {
    switch (notification.kind) {
      case 'tcpOpened': {
        const { address, port } = this.#parts.addon.formatAddress(notification.remote);
        const { connection } = notification;
        const remote: Remote = { kind: 'tcp', key: `tcp/${connection}`, address, port, connection };
        this.#tcpRemotes.set(connection, remote);
        this.feed({ kind: 'transportOpened', remote });
        return;
      }
      case 'tcpClosed': {
        const remote = this.#tcpRemotes.get(notification.connection);
        if (remote === undefined) return;
        this.#tcpRemotes.delete(notification.connection);
        this.feed({ kind: 'transportClosed', remote });
        return;
      }
      case 'tcpRefused': {
        const { address, port } = this.#parts.addon.formatAddress(notification.remote);
        const { reason, count } = notification;
        // One that could not even be taken has no address.
        const remote = address === '' ? 'unknown' : remoteText({ address, port });
        this.#parts.onEvent({ kind: 'refused', remote, reason, count });
        return;
      }
      case 'controlPacket': {
        const remote =
          notification.remote === null
            ? this.#tcpRemotes.get(notification.connection ?? -1)
            : udpRemote(this.#parts.addon, notification.remote);
        if (remote !== undefined) this.onDatagram(remote, notification.bytes);
        return;
      }
      case 'floated':
      case 'keepaliveLost':
      case 'exitNotified':
      case 'keySwitched':
      case 'keyExhausted':
        this.feed({ kind: 'dataChannel', notification });
        return;
    }
  }

  /** What is due now waits until the turn's other inputs have been handled, the answers of TLS among them. */
  #schedule(): void {
    const at = this.#parts.engine.nextDeadline() ?? Infinity;
    if (at <= this.now()) {
      this.#immediate ??= setImmediate(() => {
        this.#immediate = undefined;
        this.#onDeadline();
      });
    } else if (at < this.#timerAt) {
      // A deadline that moved away leaves its timer, which then looks again: most move with every packet.
      clearTimeout(this.#timer);
      this.#timerAt = at;
      this.#timer = setTimeout(
        () => {
          this.#timerAt = Infinity;
          this.#onDeadline();
        },
        Math.ceil(at - this.now()),
      );
    }
  }

  #onDeadline(): void {
    if ((this.#parts.engine.nextDeadline() ?? Infinity) <= this.now()) this.feed({ kind: 'deadline' });
    else this.#schedule();
  }
}

function isData(firstByte: number | undefined): boolean {
  const opcode = opcodeOf(firstByte ?? 0);
  return opcode === Opcode.DataV1 || opcode === Opcode.DataV2;
}
