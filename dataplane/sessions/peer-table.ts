import { Tally } from '../../net/tally.ts';
import type { TlsId } from './engine-io.ts';
import { chooseVictim } from './eviction.ts';
import type { Peer } from './peer.ts';
import { networkOf } from './rate-limit.ts';

/** Peers at one address: the connected one, and one that may replace it. */
interface AddressEntry {
  connected: Peer | undefined;
  opening: Peer | undefined;
}

/** Finds peers by everything that names them. An address holds one connected peer and one that is opening. */
export class PeerTable {
  readonly #byAddress = new Map<string, AddressEntry>();
  readonly #byTls = new Map<TlsId, Peer>();
  readonly #byRequest = new Map<number, Peer>();
  readonly #byPeerId = new Map<number, Peer>();
  /** Connected peers by `identityKeyOf`. */
  readonly #byIdentity = new Map<string, Peer[]>();
  readonly #byConnection = new Map<string, Peer>();
  /** Oldest first. */
  readonly #opening = new Set<Peer>();
  /** Opened, came to nothing, and stay to have their packets acknowledged. */
  readonly #failed = new Set<Peer>();
  /** How many of those that are opening each network has. */
  readonly #openingPerNetwork = new Tally();

  /** Every peer that is not closed. */
  all(): IterableIterator<Peer> {
    return this.#byConnection.values();
  }

  connected(): IterableIterator<Peer> {
    return this.#byPeerId.values();
  }

  get size(): number {
    return this.#byConnection.size;
  }

  get connectedCount(): number {
    return this.#byPeerId.size;
  }

  get openingCount(): number {
    return this.#opening.size;
  }

  /** Sessions that have begun and are no connections: what a new one competes with for memory and for the control thread. */
  get unconnectedCount(): number {
    return this.#opening.size + this.#failed.size;
  }

  /** Who makes room when there are too many. */
  openingToEvict(): Peer | undefined {
    return chooseVictim(this.#opening, ({ session, remote }) => ({
      isAdvanced: session.current.facts !== undefined,
      crowd: this.#openingPerNetwork.of(networkOf(remote.address)),
    }));
  }

  /** Opening and connected peers of one address. */
  at(key: string): readonly Peer[] {
    const entry = this.#byAddress.get(key);
    return entry === undefined ? [] : [entry.connected, entry.opening].filter((peer) => peer !== undefined);
  }

  connectedAt(key: string): Peer | undefined {
    return this.#byAddress.get(key)?.connected;
  }

  openingAt(key: string): Peer | undefined {
    return this.#byAddress.get(key)?.opening;
  }

  addOpening(peer: Peer): void {
    this.#entry(peer.remote.key).opening = peer;
    this.#byConnection.set(peer.connectionId, peer);
    this.#opening.add(peer);
    this.#openingPerNetwork.add(networkOf(peer.remote.address));
  }

  /** The address must hold no other connected peer. */
  markConnected(peer: Peer, peerId: number, identityKey: string): void {
    const entry = this.#entry(peer.remote.key);
    if (entry.opening === peer) entry.opening = undefined;
    entry.connected = peer;
    this.#settleOpening(peer);
    this.#byPeerId.set(peerId, peer);
    const same = this.#byIdentity.get(identityKey);
    if (same === undefined) this.#byIdentity.set(identityKey, [peer]);
    else same.push(peer);
  }

  /** The peer no longer counts as opening; it may still be found by its address. */
  failOpening(peer: Peer): void {
    if (this.#settleOpening(peer)) this.#failed.add(peer);
  }

  /** Moves a connected peer to an address that holds no other connected peer. */
  move(peer: Peer, fromKey: string): void {
    this.#leave(peer, fromKey);
    this.#entry(peer.remote.key).connected = peer;
  }

  markDisconnected(peer: Peer, peerId: number, identityKey: string): void {
    this.#byPeerId.delete(peerId);
    const others = this.ofIdentity(identityKey).filter((other) => other !== peer);
    if (others.length === 0) this.#byIdentity.delete(identityKey);
    else this.#byIdentity.set(identityKey, others);
  }

  /** Connected peers whose identity has this key, in the order in which they came. */
  ofIdentity(identityKey: string): readonly Peer[] {
    return this.#byIdentity.get(identityKey) ?? [];
  }

  remove(peer: Peer): void {
    this.#leave(peer, peer.remote.key);
    this.#byConnection.delete(peer.connectionId);
    this.#settleOpening(peer);
    this.#failed.delete(peer);
  }

  setTls(tls: TlsId, peer: Peer): void {
    this.#byTls.set(tls, peer);
  }

  dropTls(tls: TlsId): void {
    this.#byTls.delete(tls);
  }

  byTls(tls: TlsId): Peer | undefined {
    return this.#byTls.get(tls);
  }

  setRequest(requestId: number, peer: Peer): void {
    this.#byRequest.set(requestId, peer);
  }

  takeRequest(requestId: number): Peer | undefined {
    const peer = this.#byRequest.get(requestId);
    this.#byRequest.delete(requestId);
    return peer;
  }

  byRequest(requestId: number): Peer | undefined {
    return this.#byRequest.get(requestId);
  }

  byPeerId(peerId: number, generation: number): Peer | undefined {
    const peer = this.#byPeerId.get(peerId);
    return peer?.tunnel?.generation === generation ? peer : undefined;
  }

  byConnectionId(connectionId: string): Peer | undefined {
    return this.#byConnection.get(connectionId);
  }

  #settleOpening(peer: Peer): boolean {
    const wasOpening = this.#opening.delete(peer);
    if (wasOpening) this.#openingPerNetwork.remove(networkOf(peer.remote.address));
    return wasOpening;
  }

  #entry(key: string): AddressEntry {
    const known = this.#byAddress.get(key);
    if (known !== undefined) return known;
    const entry: AddressEntry = { connected: undefined, opening: undefined };
    this.#byAddress.set(key, entry);
    return entry;
  }

  #leave(peer: Peer, key: string): void {
    const entry = this.#byAddress.get(key);
    if (entry === undefined) return;
    if (entry.connected === peer) entry.connected = undefined;
    if (entry.opening === peer) entry.opening = undefined;
    if (entry.connected === undefined && entry.opening === undefined) this.#byAddress.delete(key);
  }
}
