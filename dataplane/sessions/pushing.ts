import { InternalError } from '../../net/errors.ts';
import { restartMessage } from '../protocol/control-message.ts';
import { pushUpdateMessages, type PushResult, type PushUpdate } from '../protocol/push.ts';
import type { EngineState } from './engine-state.ts';
import type { Peer } from './peer.ts';
import { pushReplyFor, pushUpdateFor, type ClientDialect, type PushedNetwork } from './push-options.ts';
import { endPeer } from './ending.ts';
import { FAREWELL_TEXTS, type RestartReason } from './reasons.ts';

/** Sends the configuration to a connected client; repeated requests are not answered for a while. */
export function answerPushRequest(state: EngineState, peer: Peer): void {
  const { tunnel, negotiated, session } = peer;
  if (tunnel === undefined || negotiated === undefined) return;
  if (state.now - peer.pushedAt < state.limits.pushRepeatMs) return;
  const { timers } = state.options;
  const reply = pushReplyFor(tunnel.told, {
    tunnelAddress: tunnel.tunnelAddress,
    peerId: tunnel.peerId,
    transport: peer.remote.kind,
    negotiated,
    dialect: peer.dialect,
    pingS: wholeSeconds(timers.pingMs),
    pingRestartS: wholeSeconds(timers.pingRestartMs),
    renegotiateS: timers.renegotiateMs === DEFAULT_RENEGOTIATE_MS ? null : Math.round(timers.renegotiateMs / 1000),
    authToken: peer.authToken,
    authTokenUser: peer.authTokenUser,
  });
  // Whatever the configuration can bring in was checked when it was taken.
  if (!reply.ok) throw new InternalError(`The push option "${reply.option.split(' ')[0]}" ${reply.problem}`);
  peer.pushedAt = state.now;
  for (const message of reply.messages) session.tell(message);
}

/** Hands a renewed token to a client; 2.4 would take it for a new configuration. */
export function refreshToken(peer: Peer): void {
  if (peer.authToken === null || peer.negotiated?.unsolicitedPush !== true) return;
  peer.session.tell(`PUSH_REPLY,auth-token ${peer.authToken}`);
}

/** What clients must be told to arrive at one network, worked out once for all who were told the same before. */
export class NetworkUpdates {
  readonly #after: PushedNetwork;
  readonly #byBefore = new Map<PushedNetwork, Map<string, PushUpdate | undefined>>();

  constructor(after: PushedNetwork) {
    this.#after = after;
  }

  for(before: PushedNetwork, dialect: ClientDialect): PushUpdate | undefined {
    const known = this.#byBefore.get(before) ?? new Map<string, PushUpdate | undefined>();
    this.#byBefore.set(before, known);
    const key = JSON.stringify(dialect);
    if (!known.has(key)) known.set(key, pushUpdateFor(before, this.#after, dialect));
    return known.get(key);
  }
}

/**
 * Tells a client what has changed in the network it sees: at once where it understands updates, else by a restart
 * within `drainSeconds`, so that not all come back at the same moment.
 */
export function tellNetwork(state: EngineState, peer: Peer, updates: NetworkUpdates): void {
  const { tunnel, session } = peer;
  if (tunnel === undefined) return;
  if (peer.pushedAt === -Infinity) {
    // It has yet to ask.
    tunnel.told = state.served.pushed;
    return;
  }
  const update = updates.for(tunnel.told, peer.dialect);
  const messages = update === undefined ? ({ ok: true, messages: [] } as const) : messagesFor(peer, update);
  if (!messages.ok) {
    restartLater(state, peer, 'configuration-changed');
    return;
  }
  tunnel.told = state.served.pushed;
  for (const message of messages.messages) session.tell(message);
}

function messagesFor(peer: Peer, update: PushUpdate): PushResult | { readonly ok: false } {
  return peer.negotiated?.pushUpdate === true ? pushUpdateMessages(update) : { ok: false };
}

export function restartLater(state: EngineState, peer: Peer, reason: RestartReason): void {
  if (peer.restartAt !== Infinity) return;
  peer.restartReason = reason;
  peer.restartAt = state.now + state.fraction() * state.served.snapshot.drainSeconds * 1000;
}

/** Sends a client away to come back at once, with the credentials it has. */
export function restartPeer(state: EngineState, peer: Peer, reason: RestartReason): void {
  const text = FAREWELL_TEXTS[reason];
  endPeer(state, peer, reason, restartMessage({ keepCredentials: true, nextRemote: false, reason: text }));
}

function wholeSeconds(ms: number): number {
  return Math.max(1, Math.round(ms / 1000));
}

const DEFAULT_RENEGOTIATE_MS = 3_600_000;
